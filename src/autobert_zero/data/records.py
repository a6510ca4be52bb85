"""Files of records (JSON lines, JSON, tables, parquet), read record by record."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from autobert_zero.data.lines import READING_ERRORS, Damage, open_bytes, read_lines, reading_failed
from autobert_zero.data.tables import (
    LONGEST_FIELD,
    first_duplicate,
    first_lines,
    json_problem,
    named_cells,
    separator,
    unique_pairs,
)
from autobert_zero.errors import first_line

CorpusRecord = Mapping[str, Any]

Reader = Callable[[Path, str | None], Iterator[CorpusRecord | Damage]]
"""Reads the records of a file, given a column at least with that column."""

_ROWS = 1000  # rows of a parquet file that are read at once


def json_lines(path: Path, column: str | None) -> Iterator[CorpusRecord | Damage]:
    """One JSON object per line; blank lines are skipped."""
    for line in read_lines(path):
        if isinstance(line, Damage):
            yield line
        elif line.text and not line.text.isspace():
            try:
                record = json.loads(line.text, object_pairs_hook=unique_pairs)
            except (ValueError, RecursionError) as error:
                place = f"corpus {str(path)!r} cannot be read as json: line {line.number:,}"
                yield Damage(f"{place}: {json_problem(error)}")
                continue
            yield _as_record(path, f"line {line.number:,}", record)


def json_file(path: Path, column: str | None) -> Iterator[CorpusRecord | Damage]:
    """A JSON file: a list of objects or of strings, one object, or (under a wrong name) JSON lines."""
    try:
        with open_bytes(path) as stream:
            content = json.loads(stream.read().decode("utf-8-sig"), object_pairs_hook=unique_pairs)
    except READING_ERRORS as error:
        yield reading_failed(path, error)
        return
    except (ValueError, RecursionError):
        # JSON lines, or damaged JSON, whose line the other reader names.
        yield from json_lines(path, column)
        return
    for number, record in enumerate(content if isinstance(content, list) else [content], start=1):
        yield _as_record(path, f"record {number:,}", {"text": record} if isinstance(record, str) else record)


def _as_record(path: Path, place: str, record: Any) -> CorpusRecord | Damage:
    if isinstance(record, dict):
        return record
    return Damage(f"corpus {str(path)!r} cannot be read as json: {place} is not an object with named values")


def csv_file(path: Path, column: str | None) -> Iterator[CorpusRecord | Damage]:
    """A table with column names in the first line, separated by `,`, `;`, `|` or tabs."""
    return _table(path, None)


def tsv_file(path: Path, column: str | None) -> Iterator[CorpusRecord | Damage]:
    """A table separated by tabs; quotes are part of the text."""
    return _table(path, "\t")


def _table(path: Path, tab: str | None) -> Iterator[CorpusRecord | Damage]:
    csv.field_size_limit(LONGEST_FIELD)
    damaged: list[Damage] = []

    def texts() -> Iterator[str]:
        for line in read_lines(path):
            if isinstance(line, Damage):
                damaged.append(line)
            else:
                yield f"{line.text}\n"

    lines = texts()
    head = first_lines(lines)
    rows = csv.reader(
        chain(head, lines),
        delimiter=tab or separator(head),
        quoting=csv.QUOTE_NONE if tab else csv.QUOTE_MINIMAL,
        strict=True,
    )
    names: list[str] = []
    while True:
        place = f"corpus {str(path)!r} cannot be read as csv: line {rows.line_num + 1:,}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield Damage(f"{place}: {error}; is a quote left open?")
            if not names:
                return
            continue
        yield from damaged
        damaged.clear()
        if row is None:
            return
        if names and row:
            record = named_cells(names, row)
            yield record or Damage(f"{place}: {len(row)} fields, not {len(names)}")
        elif row:
            names = row
            if (name := first_duplicate(names)) is not None:
                yield Damage(f"corpus {str(path)!r} has two columns {name!r}")
                return


def parquet_file(path: Path, column: str | None) -> Iterator[CorpusRecord | Damage]:
    """A parquet file; a row group that is damaged is left out."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        yield Damage(f"corpus {str(path)!r} cannot be read as parquet: {first_line(error)}")
        return
    with file:
        known = file.schema_arrow.names
        if (name := first_duplicate(known)) is not None:
            yield Damage(f"corpus {str(path)!r} has two columns {name!r}")
            return
        columns = None if column is None else [name for name in (column,) if name in known]
        for group in range(file.num_row_groups):
            try:
                for batch in file.iter_batches(_ROWS, row_groups=[group], columns=columns):
                    yield from batch.to_pylist() if batch.num_columns else [{}] * batch.num_rows
            except (pa.ArrowException, OSError, ValueError) as error:
                yield Damage(
                    f"corpus {str(path)!r} cannot be read as parquet: row group {group + 1:,} of "
                    f"{file.num_row_groups:,}: {first_line(error)}"
                )


READERS: dict[str, Reader] = {
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_file,
    ".csv": csv_file,
    ".tsv": tsv_file,
    ".parquet": parquet_file,
}
"""Readers of files of records, by their endings."""
