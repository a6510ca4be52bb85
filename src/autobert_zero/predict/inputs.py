"""The inputs of predictions: lines of files and of the standard input, or tables, by their names."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

from autobert_zero.data.columns import SAMPLE
from autobert_zero.data.folder import PROSE, ending
from autobert_zero.data.lines import decode_lines
from autobert_zero.data.tables import (
    Example,
    Examples,
    read_csv,
    read_json_lines,
    read_tsv,
    read_whole_lines,
    whole_lines,
)
from autobert_zero.errors import UserError
from autobert_zero.sources import expanded
from autobert_zero.streams import STANDARD_STREAM, STDIN, stdin_bytes

TEXT = "text"
"""The column of files that have lines, not columns."""


@dataclass(frozen=True)
class RowInput:
    """Where examples are read from: a file, or the standard input.

    Attributes:
        name: For messages.
        lines: It holds lines of text, not columns.
        sample: Its first examples.
        again: It can be read again.
        read: Reads the examples.
    """

    name: Path
    lines: bool
    sample: Sequence[Example]
    again: bool
    read: Callable[[], Examples]


_TABLES: dict[str, Callable[..., Examples]] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".csv": read_csv,
    ".tsv": read_tsv,
}


def open_input(source: str) -> RowInput:
    """Opens a file, or the standard input, and reads its first examples.

    Raises:
        UserError: It is missing, a folder, damaged, or of an unknown format.
    """
    if source == STANDARD_STREAM:
        return _stdin()
    path = expanded(source)
    if path.is_dir():
        raise UserError(f"{source} is a folder; name its files")
    if not path.exists():
        raise UserError(f"there is no file {source}")
    kind = ending(path)
    if kind in PROSE:
        return _input(path, True, path.is_file(), lambda: _lines_as_examples(read_whole_lines(path)))
    if kind not in _TABLES:
        known = ", ".join((*PROSE, *_TABLES))
        raise UserError(f"{source}: texts are read from files that end in {known}, with or without .gz")
    return _input(path, False, path.is_file(), partial(_TABLES[kind], path))


def _stdin() -> RowInput:
    """The standard input: JSON lines if its first line is a JSON object, else one text per line."""
    lines = whole_lines(decode_lines(stdin_bytes(), str(STDIN)))
    first = list(islice(lines, 1))
    lines = chain(first, lines)
    if first and _is_object(first[0]):
        return _input(STDIN, False, False, lambda: read_json_lines(STDIN, lines))
    return _input(STDIN, True, False, lambda: _lines_as_examples(lines))


def _input(name: Path, lines: bool, again: bool, read: Callable[[], Examples]) -> RowInput:
    """An input with its first examples, which count again where it can be read only once."""
    examples = read()
    start = list(islice(examples, SAMPLE))  # all that is read ahead of the standard input
    sample = [example for _, example in start]
    return RowInput(name, lines, sample, again, read if again else lambda: chain(start, examples))


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lines_as_examples(lines: Iterator[str]) -> Examples:
    return ((number, {TEXT: line.removesuffix("\n")}) for number, line in enumerate(lines, start=1))
