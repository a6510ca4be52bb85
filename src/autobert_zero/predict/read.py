"""The texts to predict: lines of files and of the standard input, or columns of tables, block by block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from autobert_zero.data.columns import SAMPLE, find_column, text_of
from autobert_zero.data.lines import Damage
from autobert_zero.data.tables import Example, listed_columns
from autobert_zero.errors import UserError
from autobert_zero.predict.inputs import TEXT, RowInput, open_input
from autobert_zero.streams import STANDARD_STREAM

_REMEDY = "choose with --columns"

ALL = "all"
"""Stands for keeping all columns next to the predictions."""


@dataclass(frozen=True)
class Row:
    """An example to predict.

    Attributes:
        place: File and line, for messages.
        cells: The chosen columns: texts, or lists of words where `Wanted.words` allows them.
        example: All columns by name, as they are.
    """

    place: str
    cells: tuple[Any, ...]
    example: Mapping[str, Any] = field(default_factory=dict)

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
        shown: How many columns, from the first, are repeated next to their predictions.
    """

    counts: tuple[int, ...] = (1,)
    defaults: tuple[tuple[str, ...], ...] = ()
    words: bool = False
    shown: int = 2


@dataclass(frozen=True)
class Columns:
    """The columns of tables that the user chooses.

    Attributes:
        texts: Those that hold the texts; None: by their names, or guessed.
        kept: Those that are repeated next to the predictions; only `all`: every column.
    """

    texts: Sequence[str] | None = None
    kept: Sequence[str] = ()


@dataclass(frozen=True)
class Rows:
    """The examples of all inputs, in order.

    Attributes:
        columns: Names of the columns that are read.
        kept: Names of the columns that are repeated next to the predictions.
        inputs: What they are read from, for messages.
        total: Number of examples; None where the inputs can be read only once.
        read: Reads them from the beginning.
    """

    columns: tuple[str, ...]
    kept: tuple[str, ...]
    inputs: tuple[str, ...]
    total: int | None
    read: Callable[[], Iterator[Row]]


def open_rows(
    sources: Sequence[str],
    columns: Columns,
    wanted: Wanted,
    check: Callable[[Row], None] = lambda row: None,
) -> Rows:
    """Opens the inputs, and checks those that can be read twice to their end.

    Args:
        sources: Files, or `-` for the standard input.
        columns: Chosen by the user.
        wanted: What the task takes.
        check: Raises a `UserError` for an example that the task cannot take.

    Raises:
        UserError: An input is missing, damaged or empty, of an unknown format, or lacks a column.
    """
    texts = columns.texts
    if texts is not None and "" in texts:
        raise UserError(f"--columns {','.join(texts)} has a column without a name")
    if texts is not None and len(texts) not in wanted.counts:
        counts = " or ".join(map(str, wanted.counts))
        raise UserError(f"--columns: this task takes {counts} columns, not {len(texts)}")
    if sources.count(STANDARD_STREAM) > 1:
        raise UserError("the standard input can be read once only; give one -")
    inputs = [open_input(source) for source in sources]
    if texts is not None and all(each.lines for each in inputs):
        listed = ", ".join(str(each.name) for each in inputs)
        raise UserError(
            f"{listed}: lines of text have no columns; leave out --columns, or give .jsonl, .csv, .tsv"
        )
    chosen = tuple(texts) if texts is not None else _choose(inputs, wanted)
    for each in inputs:
        if each.lines and len(chosen) > 1:
            raise UserError(
                f"{each.name} has lines of text, not the columns {', '.join(chosen)}; give .jsonl, .csv, .tsv"
            )

    def read(each: RowInput) -> Iterator[Row]:
        for line, example in each.read():
            place = f"{each.name}, line {line}"
            names = (TEXT,) if each.lines else chosen
            cells = tuple(_text_or_words(example, name, place, wanted.words) for name in names)
            row = Row(place, cells, example)
            check(row)
            yield row

    total = 0
    headers: list[dict[str, None]] = []
    for each in inputs:
        header = dict.fromkeys(name for example in each.sample for name in example)
        for row in read(each) if each.again else ():
            header |= dict.fromkeys(row.example)
            total += 1
        headers.append(header)
    names = tuple(str(each.name) for each in inputs)
    again = all(each.again for each in inputs)
    if again and not total:
        raise UserError(f"{', '.join(names)} has no texts")
    kept = _kept_columns(inputs, headers, columns.kept, chosen[: wanted.shown])
    return Rows(chosen, kept, names, total if again else None, lambda: chain.from_iterable(map(read, inputs)))


def blocks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Yields the examples in order, `size` at a time."""
    while block := list(islice(rows, size)):
        yield block


def _choose(inputs: Sequence[RowInput], wanted: Wanted) -> tuple[str, ...]:
    """The columns of the first table, by their names or guessed; `text` where there are only lines."""
    table = next((each for each in inputs if not each.lines and each.sample), None)
    if table is None:
        return next((names for names in wanted.defaults if 1 not in wanted.counts), (TEXT,))
    for names in wanted.defaults:
        if all(any(name in example for example in table.sample) for name in names):
            return names
    if 1 in wanted.counts:
        return (find_column(str(table.name), table.sample, remedy=_REMEDY),)
    needed = " or ".join(", ".join(names) for names in wanted.defaults)
    raise UserError(f"{table.name} lacks the columns {needed}; {listed_columns(table.sample[0])}; {_REMEDY}")


def _kept_columns(
    inputs: Sequence[RowInput],
    headers: Sequence[dict[str, None]],
    keep: Sequence[str],
    shown: Sequence[str],
) -> tuple[str, ...]:
    """The columns that are repeated next to the predictions; those in `shown` are anyway."""
    if keep and (lines := [str(each.name) for each in inputs if each.lines]):
        listed = ", ".join(lines)
        raise UserError(f"{listed}: lines of text have no columns to keep; leave out --keep-columns")
    names = dict.fromkeys(chain.from_iterable(headers) if list(keep) == [ALL] else keep)
    for name in () if list(keep) == [ALL] else names:
        for each, header in zip(inputs, headers, strict=True):
            if header and name not in header:
                where = "" if each.again else f" in its first {SAMPLE} records"
                raise UserError(
                    f"{each.name} has no column {name!r} to keep{where}; {listed_columns(header)}; "
                    "choose with --keep-columns"
                )
    return tuple(name for name in names if name not in shown)


def _text_or_words(example: Example, column: str, place: str, words: bool) -> str | list[str]:
    """The text, or the list of words, of an example."""
    if column not in example:
        raise UserError(f"{place}: no column {column!r}; {listed_columns(example)}; {_REMEDY}")
    value = example[column]
    if words and isinstance(value, list) and all(isinstance(word, str) for word in value):
        return [_text_cell({column: word}, column, place) for word in value]
    return _text_cell(example, column, place)


def _text_cell(example: Example, column: str, place: str) -> str:
    text = text_of(example, column, place)
    if isinstance(text, Damage):
        raise UserError(text.message)
    return text
