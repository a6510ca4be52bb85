"""Tables of examples: .jsonl, .csv and .tsv files, read line by line, each example with its line number.

They are not read by a library because every error names its line, and because quotes in GLUE's own .tsv files
are plain characters.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from autobert_zero.data.lines import Damage, Line, read_lines
from autobert_zero.errors import UserError, counted, first_line

LONGEST_FIELD = 2**31 - 1
"""Maximum characters of a cell; the csv module's default is 128 KiB."""

_SEPARATORS = ",;\t|"
_QUOTED = re.compile('"[^"]*"')

Example = dict[str, Any]
Examples = Iterator[tuple[int, Example]]
"""Examples, each with the number of its first line."""


def read_json_lines(path: Path, lines: Iterable[str] | None = None) -> Examples:
    """Reads a .jsonl file: one JSON object per line.

    Args:
        path: The file.
        lines: Lines to read instead, as `read_whole_lines` yields them; the path names them in messages.

    Raises:
        UserError: A line is not a JSON object, or repeats a key.
    """
    for number, line in enumerate(_given(lines, path), start=1):
        if not line.strip():
            continue
        try:
            example = json.loads(line.removesuffix("\n"), object_pairs_hook=unique_pairs)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: not JSON: {json_problem(error)}") from None
        except RecursionError:
            raise UserError(f"{path}, line {number}: nested too deeply") from None
        if not isinstance(example, dict):
            raise UserError(f"{path}, line {number}: not a JSON object")
        yield number, example


def read_csv(path: Path, lines: Iterable[str] | None = None) -> Examples:
    """Reads a .csv file with a header; quoted cells may hold separators, quotes and line breaks.

    Args:
        path: The file.
        lines: As in `read_json_lines`.

    Raises:
        UserError: A row has another number of cells than the header, or a quote is out of place.
    """
    given = iter(_given(lines, path))
    head = first_lines(given)
    reader = csv.reader(chain(head, given), delimiter=separator(head), strict=True)
    rows = _numbered_rows(path, reader)
    return _named_rows(path, next(rows, (1, []))[1], rows, "quote the text")


def read_tsv(
    path: Path,
    header: Callable[[Sequence[str]], Sequence[str] | None] = lambda first: None,
    skip_ragged: bool = False,
    lines: Iterable[str] | None = None,
) -> Examples:
    """Reads a .tsv file, in which quotes are plain characters.

    Args:
        path: The file.
        header: Called with the cells of the first line; returns column names if the file has no header.
        skip_ragged: Whether to skip rows with another number of cells than the header.
        lines: As in `read_json_lines`.

    Raises:
        UserError: A row has another number of cells than the header.
    """
    reader = csv.reader(_given(lines, path), delimiter="\t", quoting=csv.QUOTE_NONE)
    rows = _numbered_rows(path, reader)
    first = next(rows, (1, []))
    names = header(first[1])
    if names is None:
        names = first[1]
    else:
        rows = chain([first], rows)
    if skip_ragged:
        rows = ((line, row) for line, row in rows if len(row) == len(names))
    return _named_rows(path, names, rows, "cells with tabs or line breaks need a .csv")


def read_whole_lines(path: Path) -> Iterator[str]:
    """Yields the lines of a UTF-8 file, each with a line feed, without a byte order mark.

    Raises:
        UserError: The file has another encoding or is binary; the message names place and remedy.
    """
    return whole_lines(read_lines(path, "file"))


def whole_lines(decoded: Iterable[Line | Damage]) -> Iterator[str]:
    """Yields the text of decoded lines, each with a line feed.

    Raises:
        UserError: A line could not be decoded; the message names place and remedy.
    """
    for line in decoded:
        if isinstance(line, Damage):
            raise UserError(line.message)
        yield f"{line.text}\n"


def listed_columns(example: Example) -> str:
    """The columns of an example, for a message about a missing one."""
    columns = ", ".join(map(str, example))
    mark = next((mark for mark in ";,|" if mark in columns), None) if len(example) == 1 else None
    hint = "" if mark is None else f" (separated by {mark!r}? .tsv means tabs)"
    return f"there are {columns or 'no columns'}{hint}"


def first_lines(lines: Iterator[str]) -> list[str]:
    """Takes the lines up to the first one that is not blank."""
    head = []
    for line in lines:
        head.append(line)
        if line.strip():
            break
    return head


def separator(head: Sequence[str]) -> str:
    """Detects the separator of a .csv: the most frequent of `,`, `;`, `|` and tab in its header.

    Args:
        head: Result of `first_lines`; what is in quotes does not count.
    """
    names = _QUOTED.sub("", head[-1]) if head else ""
    return max(_SEPARATORS, key=names.count)


def json_problem(error: Exception) -> str:
    """Why a line is not JSON; the decoder's own message counts lines within the line."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    return first_line(error)


def is_unicode(text: str) -> bool:
    r"""Whether a text can be encoded: JSON and YAML may hold half a character, a lone `\ud800`."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def check_unicode(text: str, what: str) -> None:
    """Checks that a text can be encoded.

    Args:
        text: The text.
        what: Name of the text, with its place, to begin the message with.

    Raises:
        UserError: It holds half a character.
    """
    if not is_unicode(text):
        raise UserError(f"{what} has half a character (surrogate)")


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object from its pairs.

    Raises:
        ValueError: A key is given twice.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return content


def first_duplicate(names: Sequence[str]) -> str | None:
    """The first name that several columns have; columns without a name do not count."""
    return next((name for name in names if name and names.count(name) > 1), None)


def named_cells(names: Sequence[str], row: Sequence[str]) -> Example | None:
    """The cells of a row by their columns, without empty cells beyond the last; None for another number."""
    beyond = row[len(names) :]
    return None if len(row) < len(names) or any(beyond) else dict(zip(names, row, strict=False))


def _given(lines: Iterable[str] | None, path: Path) -> Iterable[str]:
    return read_whole_lines(path) if lines is None else lines


def _numbered_rows(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its first line."""
    csv.field_size_limit(LONGEST_FIELD)
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: {error}; is a quote left open, or not doubled?") from None


def _named_rows(
    path: Path, names: Sequence[str], rows: Iterator[tuple[int, list[str]]], remedy: str
) -> Examples:
    """The rows as dictionaries by column."""
    if (name := first_duplicate(names)) is not None:
        raise UserError(f"{path} has two columns {name!r}")
    for line, row in rows:
        example = named_cells(names, row)
        if example is None:
            raise UserError(f"{path}, line {line}: {counted(len(row), 'column')}, not {len(names)}; {remedy}")
        yield line, example
