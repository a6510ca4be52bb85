"""The texts to predict: lines of files and of the standard input, or columns of tables, block by block."""

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from autobert_zero.data.columns import find_column, text_of
from autobert_zero.data.folder import PROSE, ending
from autobert_zero.data.lines import Damage, decode_lines
from autobert_zero.data.tables import (
    Example,
    Examples,
    listed_columns,
    read_csv,
    read_json_lines,
    read_tsv,
    read_whole_lines,
    whole_lines,
)
from autobert_zero.errors import UserError

STDIN = "-"
"""Stands for the standard input."""

_STDIN = Path("standard input")
_TEXT = "text"
"""The column of files that have lines, not columns."""

_SAMPLE = 200
"""Examples that the column of text is guessed from."""

_REMEDY = "choose with --columns"


@dataclass(frozen=True)
class Row:
    """An example to predict.

    Attributes:
        place: File and line, for messages.
        cells: The chosen columns: texts, or lists of words where `Wanted.words` allows them.
    """

    place: str
    cells: tuple[Any, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing but white space in it."""
        return not any(cell.strip() if isinstance(cell, str) else cell for cell in self.cells)


@dataclass(frozen=True)
class Wanted:
    """The columns that a task takes.

    Attributes:
        counts: How many columns it can take.
        defaults: Sets of columns that are looked for, in this order, where none are chosen.
        words: A cell may also be a list of words.
        shown: How many columns, from the first, are repeated beside their predictions.
    """

    counts: tuple[int, ...] = (1,)
    defaults: tuple[tuple[str, ...], ...] = ()
    words: bool = False
    shown: int = 2


@dataclass(frozen=True)
class Rows:
    """The examples of all inputs, in order.

    Attributes:
        columns: Names of the columns that are read.
        inputs: What they are read from, for messages.
        total: Number of examples; None where the inputs can be read only once.
        read: Reads them from the beginning.
    """

    columns: tuple[str, ...]
    inputs: tuple[str, ...]
    total: int | None
    read: Callable[[], Iterator[Row]]


def open_rows(
    sources: Sequence[str],
    columns: Sequence[str] | None,
    wanted: Wanted,
    check: Callable[[Row], None] = lambda row: None,
) -> Rows:
    """Opens the inputs and, where they can be read twice, checks all of them.

    Args:
        sources: Files, or `-` for the standard input.
        columns: Chosen by the user; None: by their names, or guessed.
        wanted: What the task takes.
        check: Raises a `UserError` for an example that the task cannot take.

    Raises:
        UserError: An input is missing, damaged or empty, of an unknown format, or lacks a column.
    """
    if columns is not None and "" in columns:
        raise UserError(f"--columns {','.join(columns)} has a column without a name")
    if columns is not None and len(columns) not in wanted.counts:
        counts = " or ".join(map(str, wanted.counts))
        raise UserError(f"--columns: this task takes {counts} columns, not {len(columns)}")
    if sources.count(STDIN) > 1:
        raise UserError("the standard input can be read once only; give one -")
    inputs = [_open(source) for source in sources]
    if columns is not None and all(each.lines for each in inputs):
        listed = ", ".join(str(each.name) for each in inputs)
        raise UserError(
            f"{listed}: lines of text have no columns; leave out --columns, or give .jsonl, .csv, .tsv"
        )
    chosen = tuple(columns) if columns is not None else _choose(inputs, wanted)
    for each in inputs:
        if each.lines and len(chosen) > 1:
            raise UserError(
                f"{each.name} has lines of text, not the columns {', '.join(chosen)}; give .jsonl, .csv, .tsv"
            )

    def read() -> Iterator[Row]:
        for each in inputs:
            for line, example in each.read():
                place = f"{each.name}, line {line}"
                names = (_TEXT,) if each.lines else chosen
                row = Row(place, tuple(_cell(example, name, place, wanted.words) for name in names))
                check(row)
                yield row

    names = tuple(str(each.name) for each in inputs)
    if not all(each.again for each in inputs):
        return Rows(chosen, names, None, read)
    total = sum(1 for _ in read())
    if not total:
        raise UserError(f"{', '.join(names)} has no texts")
    return Rows(chosen, names, total, read)


def blocks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Yields the examples in order, `size` at a time."""
    while block := list(islice(rows, size)):
        yield block


@dataclass(frozen=True)
class _Input:
    """A file, or the standard input.

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


def _open(source: str) -> _Input:
    if source == STDIN:
        return _stdin()
    path = Path(source).expanduser()
    if path.is_dir():
        raise UserError(f"{source} is a folder; name its files")
    if not path.exists():
        raise UserError(f"there is no file {source}")
    kind = ending(path)
    if kind in PROSE:
        return _input(path, True, path.is_file(), lambda: _texts(read_whole_lines(path)))
    if kind not in _TABLES:
        known = ", ".join((*PROSE, *_TABLES))
        raise UserError(f"{source}: texts are read from files that end in {known}, with or without .gz")
    return _input(path, False, path.is_file(), partial(_TABLES[kind], path))


def _stdin() -> _Input:
    """The standard input: JSON lines if its first line is a JSON object, else one text per line."""
    lines = whole_lines(decode_lines(_bytes(), str(_STDIN)))
    first = list(islice(lines, 1))
    lines = chain(first, lines)
    if first and _is_object(first[0]):
        return _input(_STDIN, False, False, lambda: read_json_lines(_STDIN, lines))
    return _input(_STDIN, True, False, lambda: _texts(lines))


def _input(name: Path, lines: bool, again: bool, read: Callable[[], Examples]) -> _Input:
    """An input with its first examples, which count again where it can be read only once."""
    examples = read()
    start = list(islice(examples, _SAMPLE))
    sample = [example for _, example in start]
    return _Input(name, lines, sample, again, read if again else lambda: chain(start, examples))


def _bytes() -> IO[bytes]:
    if sys.stdin is None:
        raise UserError("the standard input is closed; name a file")
    stream: Any = getattr(sys.stdin, "buffer", None) or io.BufferedReader(
        io.BytesIO(sys.stdin.read().encode())  # a stream of text in its place has no bytes
    )
    return stream


def _is_object(line: str) -> bool:
    try:
        return line.lstrip().startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _texts(lines: Iterator[str]) -> Examples:
    return ((number, {_TEXT: line.removesuffix("\n")}) for number, line in enumerate(lines, start=1))


def _choose(inputs: Sequence[_Input], wanted: Wanted) -> tuple[str, ...]:
    """The columns of the first table, by their names or guessed; `text` where there are only lines."""
    table = next((each for each in inputs if not each.lines and each.sample), None)
    if table is None:
        return next((names for names in wanted.defaults if 1 not in wanted.counts), (_TEXT,))
    for names in wanted.defaults:
        if all(any(name in example for example in table.sample) for name in names):
            return names
    if 1 in wanted.counts:
        return (find_column(str(table.name), table.sample, remedy=_REMEDY),)
    needed = " or ".join(", ".join(names) for names in wanted.defaults)
    raise UserError(f"{table.name} lacks the columns {needed}; {listed_columns(table.sample[0])}; {_REMEDY}")


def _cell(example: Example, column: str, place: str, words: bool) -> str | list[str]:
    """The text, or the list of words, of an example."""
    if column not in example:
        raise UserError(f"{place}: no column {column!r}; {listed_columns(example)}; {_REMEDY}")
    value = example[column]
    if words and isinstance(value, list) and all(isinstance(word, str) for word in value):
        return [_text({column: word}, column, place) for word in value]
    return _text(example, column, place)


def _text(example: Example, column: str, place: str) -> str:
    text = text_of(example, column, place)
    if isinstance(text, Damage):
        raise UserError(text.message)
    return text
