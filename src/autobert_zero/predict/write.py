"""Writes predictions to a file, which appears once it is complete, or to standard output."""

import csv
import json
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from autobert_zero.errors import UserError
from autobert_zero.out_file import replacing
from autobert_zero.predict.head import Record, shortest

STDOUT = "-"
"""Stands for standard output."""


class Writer(ABC):
    """Writes records in one format."""

    @abstractmethod
    def write(self, records: Sequence[Record]) -> None:
        """Writes more records."""

    def close(self) -> None:  # noqa: B027 - most formats need no completion
        """Completes the file."""


class _JsonLines(Writer):
    """One JSON object per line."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, records: Sequence[Record]) -> None:
        self._stream.writelines(self._line(record) for record in records)

    def _line(self, record: Record) -> str:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, default=_json_vector) + "\n"
        try:
            line.encode(self._encoding)
        except UnicodeEncodeError:  # JSON can escape the character
            line = json.dumps(record, allow_nan=False, default=_json_vector) + "\n"
        return line


def _json_vector(vector: np.ndarray[Any, Any]) -> list[float] | None:
    """Converts a vector for JSON; None for NaN, which JSON lacks."""
    return None if np.isnan(vector).any() else shortest(vector)


class _Table(Writer):
    """A table with the column names in the first line."""

    def __init__(self, stream: IO[Any], tabs: bool = False) -> None:
        self._tabs = tabs
        self._writer = (
            csv.writer(stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
            if tabs
            else csv.writer(_LineFeeds(stream))
        )
        self._has_header = False

    def write(self, records: Sequence[Record]) -> None:
        if records and not self._has_header:
            self._write_row(list(records[0]))
            self._has_header = True
        for record in records:
            self._write_row(list(record.values()))

    def _write_row(self, cells: Sequence[Any]) -> None:
        if self._tabs:  # without quotes, a cell cannot hold tabs or line breaks
            cells = [re.sub(r"[\t\r\n]+", " ", cell) if isinstance(cell, str) else cell for cell in cells]
        self._writer.writerow(cells)


class _LineFeeds:
    r"""Ends the rows of a `csv.writer` with line feeds.

    The writer's own end stays `\r\n`: it quotes cells with a carriage return only if its end has one.
    """

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        self._stream.write(row.removesuffix("\r\n") + "\n")


class _Array(Writer):
    """A NumPy array (N, d) in single precision, which `np.load` can map into memory.

    Rows are written as they come, since their number is not known in advance; `close` corrects the header.
    """

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream
        self._rows = 0
        self._width = 0

    def write(self, records: Sequence[Record]) -> None:
        rows = np.stack([record["embedding"] for record in records]).astype("<f4")
        if not self._rows:
            self._width = rows.shape[1]
            self._write_header()
        self._rows += len(rows)
        self._stream.write(rows.tobytes())

    def close(self) -> None:
        self._stream.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        # NumPy pads the header to the same size for any number of rows.
        shape = (self._rows, self._width)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)


FORMATS: dict[str, Callable[[IO[Any]], Writer]] = {
    "jsonl": _JsonLines,
    "csv": _Table,
    "tsv": lambda stream: _Table(stream, tabs=True),
    "npy": _Array,
}
"""Makes the writer of a format; that of `npy` takes a stream of bytes, the others take text."""

TABLES = ("csv", "tsv")
"""The formats whose records are flat."""


def choose_format(out: str, chosen: str | None, possible: Sequence[str]) -> str:
    """Chooses the format: the user's choice, else by the file extension; JSON lines for standard output.

    Raises:
        UserError: There is no such format or none for the extension, or the task cannot be written in it.
    """
    name = chosen
    if name is None:
        name = "jsonl" if out == STDOUT else Path(out).suffix.removeprefix(".").lower()
    if name not in FORMATS:
        problem = (
            f"--format {name!r}" if chosen is not None else f"--out {out}: the extension {Path(out).suffix!r}"
        )
        raise UserError(f"{problem} is not a format; there are {', '.join(possible)}")
    if name not in possible:
        raise UserError(f"this task can be written as {' or '.join(possible)}, not as {name}")
    if name == "npy" and out == STDOUT:
        raise UserError(
            "npy is binary and can only be written to a file: name one with --out, or choose --format jsonl"
        )
    return name


@contextmanager
def open_writer(out: str, file_format: str) -> Iterator[Writer]:
    """Opens the output; a file appears, or replaces an older one, when the block ends without an error.

    Args:
        out: A file, or `-` for standard output.
        file_format: A name in `FORMATS`.

    Raises:
        UserError: The file cannot be written.
    """
    if out == STDOUT:
        yield FORMATS[file_format](sys.stdout)
        return
    with replacing(Path(out)) as new:
        text = {"mode": "w", "encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
        options: Any = {"mode": "wb"} if file_format == "npy" else text
        with new.open(**options) as stream:
            writer = FORMATS[file_format](stream)
            yield writer
            writer.close()
