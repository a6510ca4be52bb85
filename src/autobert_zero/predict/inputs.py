"""Opens the inputs of predictions: files or standard input, each with lines of text or a table."""

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
    first_lines,
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
"""Name of the only column of files with lines of text."""


@dataclass(frozen=True)
class RowInput:
    """A source of examples: a file or standard input.

    Attributes:
        name: Name in messages.
        has_columns: Whether it is a table and not lines of text.
        sample: Its first examples.
        rereadable: Whether it can be read more than once.
        read: Reads the examples.
    """

    name: Path
    has_columns: bool
    sample: Sequence[Example]
    rereadable: bool
    read: Callable[[], Examples]


_TABLES: dict[str, Callable[..., Examples]] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".csv": read_csv,
    ".tsv": read_tsv,
}


def open_input(source: str) -> RowInput:
    """Opens a file, or standard input, and reads its first examples.

    Raises:
        UserError: It is missing, a folder, damaged, or in an unknown format.
    """
    if source == STANDARD_STREAM:
        return _open_stdin()
    path = expanded(source)
    if path.is_dir():
        raise UserError(f"{source} is a folder; name its files")
    if not path.exists():
        raise UserError(f"there is no file {source}")
    kind = ending(path)
    if kind in PROSE:
        return _sampled(path, False, path.is_file(), lambda: _lines_as_examples(read_whole_lines(path)))
    if kind not in _TABLES:
        known = ", ".join((*PROSE, *_TABLES))
        raise UserError(f"{source}: texts are read from files that end in {known}, with or without .gz")
    return _sampled(path, True, path.is_file(), partial(_TABLES[kind], path))


def _open_stdin() -> RowInput:
    """Opens standard input: JSON lines if a JSON object comes first, after any blank lines; else texts."""
    lines = whole_lines(decode_lines(stdin_bytes(), str(STDIN)))
    head = first_lines(lines)
    lines = chain(head, lines)
    if head and _is_object(head[-1]):
        return _sampled(STDIN, True, False, lambda: read_json_lines(STDIN, lines))
    return _sampled(STDIN, False, False, lambda: _lines_as_examples(lines))


def _sampled(name: Path, has_columns: bool, rereadable: bool, read: Callable[[], Examples]) -> RowInput:
    """Reads the first examples of an input, which its `read` yields again if it cannot be read twice."""
    examples = read()
    start = list(islice(examples, SAMPLE))  # all that is read ahead of standard input
    sample = [example for _, example in start]
    read_all = read if rereadable else lambda: chain(start, examples)
    return RowInput(name, has_columns, sample, rereadable, read_all)


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lines_as_examples(lines: Iterator[str]) -> Examples:
    return ((number, {TEXT: line.removesuffix("\n")}) for number, line in enumerate(lines, start=1))
