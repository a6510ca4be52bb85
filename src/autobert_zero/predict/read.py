"""Reads the texts to predict, block by block: lines of text, or columns of tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from autobert_zero.data.columns import SAMPLE, find_column, text_of
from autobert_zero.data.lines import Damage
from autobert_zero.data.tables import Example, first_duplicate, listed_columns
from autobert_zero.errors import UserError
from autobert_zero.predict.inputs import TEXT, RowInput, open_input
from autobert_zero.streams import STANDARD_STREAM

_REMEDY = "choose with --columns"

ALL = "all"
"""Stands for all columns, to be repeated next to the predictions."""


@dataclass(frozen=True)
class Row:
    """An example to predict.

    Attributes:
        place: File and line, for messages.
        cells: The chosen columns: texts, or lists of words if `TaskColumns.words` allows them.
        example: All columns by name, unchanged.
    """

    place: str
    cells: tuple[Any, ...]
    example: Mapping[str, Any] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether one of the cells is missing or only white space: half a pair cannot be predicted."""
        return not all(cell.strip() if isinstance(cell, str) else cell for cell in self.cells)


@dataclass(frozen=True)
class TaskColumns:
    """The columns that a task takes.

    Attributes:
        counts: The possible numbers of columns.
        defaults: Sets of columns to look for, in this order, if the user chooses none.
        words: Whether a cell may also be a list of words.
        shown: Number of columns, from the first, to repeat next to the predictions.
    """

    counts: tuple[int, ...] = (1,)
    defaults: tuple[tuple[str, ...], ...] = ()
    words: bool = False
    shown: int = 2


@dataclass(frozen=True)
class Columns:
    """The columns of tables that the user chooses.

    Attributes:
        texts: Columns with the texts; None finds them by name, or guesses.
        kept: Columns to repeat next to the predictions; `all` alone means every column.
    """

    texts: Sequence[str] | None = None
    kept: Sequence[str] = ()


@dataclass(frozen=True)
class Rows:
    """The examples of all inputs, in order.

    Attributes:
        columns: Names of the columns that are read.
        kept: Names of the columns that are repeated next to the predictions.
        inputs: Names of the inputs, for messages.
        total: Number of examples; None if the inputs can be read only once.
        read: Reads the examples from the beginning.
    """

    columns: tuple[str, ...]
    kept: tuple[str, ...]
    inputs: tuple[str, ...]
    total: int | None
    read: Callable[[], Iterator[Row]]


def open_rows(
    sources: Sequence[str],
    columns: Columns,
    task_columns: TaskColumns,
    check: Callable[[Row], None] = lambda row: None,
) -> Rows:
    """Opens the inputs, and checks those that can be read twice to their end.

    Args:
        sources: Files, or `-` for standard input.
        columns: The columns that the user chooses.
        task_columns: The columns that the task takes.
        check: Raises a `UserError` for an example that the task cannot take.

    Raises:
        UserError: An input is missing, damaged, empty or in an unknown format, or lacks a column.
    """
    texts = columns.texts
    if texts is not None:
        _check_chosen(texts, task_columns)
    if sources.count(STANDARD_STREAM) > 1:
        raise UserError("standard input can be read only once; give one -")
    inputs = [open_input(source) for source in sources]
    if texts is not None and not any(source.has_columns for source in inputs):
        listed = ", ".join(str(source.name) for source in inputs)
        raise UserError(
            f"{listed}: lines of text have no columns; leave out --columns, or give .jsonl, .csv or .tsv"
        )
    chosen = tuple(texts) if texts is not None else _choose(inputs, task_columns)
    for source in inputs:
        if not source.has_columns and len(chosen) > 1:
            raise UserError(
                f"{source.name} has lines of text, not the columns {', '.join(chosen)}; give .jsonl, .csv or "
                ".tsv"
            )

    def read(source: RowInput) -> Iterator[Row]:
        for line, example in source.read():
            place = f"{source.name}, line {line}"
            names = chosen if source.has_columns else (TEXT,)
            cells = tuple(_text_or_words(example, name, place, task_columns.words) for name in names)
            row = Row(place, cells, example)
            check(row)
            yield row

    total = 0
    headers: list[dict[str, None]] = []
    for source in inputs:
        header = dict.fromkeys(name for example in source.sample for name in example)
        for row in read(source) if source.rereadable else ():
            header |= dict.fromkeys(row.example)
            total += 1
        headers.append(header)
    names = tuple(str(source.name) for source in inputs)
    counted = all(source.rereadable for source in inputs)
    if counted and not total:
        raise UserError(f"{', '.join(names)} has no texts")
    kept = _kept_columns(inputs, headers, columns.kept, chosen[: task_columns.shown])
    total_known = total if counted else None
    return Rows(chosen, kept, names, total_known, lambda: chain.from_iterable(map(read, inputs)))


def blocks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Yields the examples in order, `size` at a time."""
    while block := list(islice(rows, size)):
        yield block


def _check_chosen(texts: Sequence[str], task_columns: TaskColumns) -> None:
    """Checks the columns of --columns on their own."""
    listed = f"--columns {','.join(texts)}"
    if "" in texts:
        raise UserError(f"{listed} has a column without a name")
    if (name := first_duplicate(texts)) is not None:
        raise UserError(f"{listed} has the column {name!r} twice")
    if len(texts) not in task_columns.counts:
        counts = " or ".join(map(str, task_columns.counts))
        noun = "column" if task_columns.counts == (1,) else "columns"
        raise UserError(f"--columns: this model takes {counts} {noun} of text, not {len(texts)}")


def _choose(inputs: Sequence[RowInput], task_columns: TaskColumns) -> tuple[str, ...]:
    """Chooses columns of the first table by name or by a guess; `text` if all inputs are lines of text."""
    table = next((source for source in inputs if source.has_columns and source.sample), None)
    if table is None:
        return next((names for names in task_columns.defaults if 1 not in task_columns.counts), (TEXT,))
    for names in task_columns.defaults:
        if all(any(name in example for example in table.sample) for name in names):
            return names
    if 1 in task_columns.counts:
        return (find_column(str(table.name), table.sample, remedy=_REMEDY),)
    needed = " or ".join(", ".join(names) for names in task_columns.defaults)
    raise UserError(f"{table.name} lacks the columns {needed}; {listed_columns(table.sample[0])}; {_REMEDY}")


def _kept_columns(
    inputs: Sequence[RowInput],
    headers: Sequence[dict[str, None]],
    keep: Sequence[str],
    shown: Sequence[str],
) -> tuple[str, ...]:
    """The columns to repeat next to the predictions, without those in `shown`, which always are."""
    if keep and (lines := [str(source.name) for source in inputs if not source.has_columns]):
        listed = ", ".join(lines)
        raise UserError(f"{listed}: lines of text have no columns to keep; leave out --keep-columns")
    names = dict.fromkeys(chain.from_iterable(headers) if list(keep) == [ALL] else keep)
    for name in () if list(keep) == [ALL] else names:
        for source, header in zip(inputs, headers, strict=True):
            if header and name not in header:
                where = "" if source.rereadable else f" in its first {SAMPLE} records"
                raise UserError(
                    f"{source.name} has no column {name!r} to keep{where}; {listed_columns(header)}; "
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
