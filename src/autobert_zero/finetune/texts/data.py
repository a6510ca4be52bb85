"""The examples of a task, from local files or the Hub, checked before anything is trained."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from autobert_zero.data.folder import ending
from autobert_zero.data.tables import (
    Example,
    check_unicode,
    listed_columns,
    read_csv,
    read_json_lines,
    read_tsv,
)
from autobert_zero.errors import UserError
from autobert_zero.finetune.splits import hub_split, naming_task, numbered, read_splits, split_file
from autobert_zero.finetune.texts.labels import class_number, exact_number, finite_value
from autobert_zero.finetune.texts.task import Task

_ALIASES = {
    "label": ("Quality", "is_duplicate", "score", "gold_label"),
    "sentence1": ("#1 String",),
    "sentence2": ("#2 String",),
    "premise": ("sentence1",),
    "hypothesis": ("sentence2",),
}
"""Column names in GLUE's own files, by those of the Hub."""

_COLA = ("source", "label", "star", "sentence")  # its file has no header
_STEMS = {
    "validation": "dev",
    "validation_matched": "dev_matched",
    "validation_mismatched": "dev_mismatched",
    "ax": "diagnostic",
}
_ENDINGS = ("jsonl", "csv", "tsv")
_LARGEST_VALUE = 1e18
"""Largest label of a regression whose squared error is finite in single precision."""

Placed = Iterable[tuple[str, Example]]
"""Examples, each with its place: file and line, or its number on the Hub."""


def load_splits(task: Task, folder: Path | None) -> dict[str, Dataset]:
    """Loads all splits of a task.

    Args:
        task: The task.
        folder: Has one file per split: `train.jsonl`, `.csv`, or `.tsv` (GLUE's own files too, where the
            validation split is `dev`); None loads from the Hub.

    Returns:
        The splits by name: `train`, those of `task.validation`, and the existing ones of `task.test`. Columns
        are `text`, `pair` for pairs, and, except in test splits whose labels are hidden, `label`: an integer,
        or a float for a regression.

    Raises:
        UserError: A split is missing or empty, a line is broken (its number is named), a column is missing,
            a label is none of the task's, a class has no example to learn from, or labels do not differ.
    """
    with naming_task(task.name):
        classes = _Classes(task)
        read = read_splits(task.validation, task.test, lambda split: _read_text_split(task, folder, split))
        splits = {split: _split(task, split, place, examples, classes) for split, place, examples in read}
        classes.check()
    return splits


def load_labelled(task: Task, folder: Path | None) -> tuple[str, Dataset]:
    """Loads the first split with labels among the test and the validation splits; nothing is trained with it.

    Args:
        task: A regression.
        folder: As in `load_splits`.

    Returns:
        The name of the split, and its examples with the columns of `load_splits`.

    Raises:
        UserError: There is none, or it is broken.
    """
    with naming_task(task.name):
        for split in (*task.test, *task.validation):
            place, examples = _read_text_split(task, folder, split)
            read = list(examples or ())
            if not read or (split in task.test and _all_hidden(task, read)):
                continue
            return split, _split(task, split, place, read, _Classes(task))
        splits = ", ".join((*task.test, *task.validation))
        raise UserError(f"{folder or 'the Hub'} has none of the splits {splits} with labels")


def _split(task: Task, split: str, place: str, examples: Placed, classes: "_Classes") -> Dataset:
    """The checked examples of a split."""
    read = list(examples)
    labelled = split not in task.test or not _all_hidden(task, read)
    rows = [
        _checked_example(task, example, where, split if labelled else None, classes)
        for where, example in read
    ]
    if not rows:
        raise UserError(f"{place} has no examples")
    if split == "train" and not any(
        str(row[name]).strip() for row in rows for name in row.keys() - {"label"}
    ):
        raise UserError(f"{place} has no text in {' or '.join(map(repr, task.columns))}, only spaces")
    if labelled:
        _check_spread(task, split, place, [row["label"] for row in rows])
    return Dataset.from_list(rows)


def _read_text_split(task: Task, folder: Path | None, split: str) -> tuple[str, Placed | None]:
    """The place of a split, and its examples; None if there is no such split."""
    if folder is None:
        return _texts_from_hub(task, split)
    stems = dict.fromkeys((split, _STEMS.get(split, split)))
    path = split_file(folder, split, (f"{stem}.{end}" for stem in stems for end in _ENDINGS))
    if path is None:
        return f"{folder / split}.jsonl (or .csv, .tsv)", None
    examples = {".jsonl": read_json_lines, ".csv": read_csv}.get(ending(path))
    read = _tsv(path, task) if examples is None else examples(path)
    return str(path), ((f"{path}, line {line}", example) for line, example in read)


def _tsv(path: Path, task: Task) -> Iterator[tuple[int, Example]]:
    """A .tsv file, or one of GLUE's with its oddities."""
    glue = task.hub[1] if task.hub else None
    return read_tsv(
        path,
        header=lambda first: _COLA if glue == "cola" and "sentence" not in first else None,
        skip_ragged=glue == "qqp",  # its own file has some broken lines; nobody counts them
    )


def _texts_from_hub(task: Task, split: str) -> tuple[str, Placed | None]:
    if task.hub is None:
        raise UserError("it is not on the Hub: name the folder of its files with --data")
    place, loaded = hub_split(*task.elsewhere.get(split, (*task.hub, split)))
    return place, None if loaded is None else numbered(place, loaded)


def _all_hidden(task: Task, examples: Iterable[tuple[str, Example]]) -> bool:
    """Whether no example of a test split has a label."""
    return all(_is_label_hidden(task, example) for _, example in examples)


def _is_label_hidden(task: Task, example: Example) -> bool:
    """Whether an example of a test split has no label: no such column, an empty cell, or -1 (GLUE)."""
    value = _column_value(task, example, task.label)
    if value is None or value == "":
        return True
    return exact_number(value) == -1 and class_number(task.labels, value) is None


def _check_spread(task: Task, split: str, place: str, labels: Sequence[float]) -> None:
    """Checks that labels differ, as training and correlations need."""
    if len(labels) < 2 or len(set(labels)) > 1 or (split != "train" and not task.regression):
        return
    label = labels[0] if task.regression else task.labels[int(labels[0])]
    reason = "there is nothing to learn" if split == "train" else "no correlation with them is defined"
    remedy = "; leave the column out if they stand for hidden labels" if split in task.test else ""
    raise UserError(f"{place}: all {len(labels):,} labels are {label}, so {reason}{remedy}")


def _checked_example(
    task: Task, example: Example, where: str, split: str | None, classes: "_Classes"
) -> Example:
    """An example under our column names, with a number as label; without a label if the split is None."""
    row: Example = {}
    for column, name in zip(task.columns, ("text", "pair"), strict=False):
        value = _column_value(task, example, column)
        if not isinstance(value, str):
            instead = "" if value is None else f", but {value!r:.40}"
            raise UserError(f"{where}: no text in column {column!r}{instead}; {listed_columns(example)}")
        check_unicode(value, f"{where}: column {column!r}")
        row[name] = value
    if split is None:
        return row
    value = _column_value(task, example, task.label)
    if value is None:
        if split in task.test:
            remedy = f"give every example of {split} a label, or none"
            raise UserError(f"{where}: no label; {remedy}")
        what = "label" if task.label in example else f"column {task.label!r}"
        raise UserError(f"{where}: no {what}; {listed_columns(example)}")
    row["label"] = _value(value, where) if task.regression else classes.number(value, split, where)
    return row


def _column_value(task: Task, example: Example, column: str) -> Any:
    aliases: Sequence[str] = _ALIASES.get(column, ()) if task.hub else ()
    return next((example[name] for name in (column, *aliases) if name in example), None)


def _value(value: Any, where: str) -> float:
    number = finite_value(value)
    if number is None:
        raise UserError(f"{where}: label {value!r} is not a number")
    if abs(number) > _LARGEST_VALUE:
        raise UserError(f"{where}: label {value!r} is too large to be learned; scale the labels")
    return number


class _Classes:
    """The classes that occur in the splits of a task, each with its first place."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._first: dict[str, dict[int, str]] = {}
        self._counted: dict[int, str] = {}

    def number(self, value: Any, split: str, where: str) -> int:
        """The number of the class that a label names."""
        match = class_number(self._task.labels, value)
        if match is None:
            names = self._task.labels
            numbered = any(exact_number(name) is not None for name in names)
            numbers = "" if numbered else f", nor a number from 0 to {len(names) - 1}"
            raise UserError(f"{where}: label {value!r} is none of {', '.join(names)}{numbers}")
        self._first.setdefault(split, {}).setdefault(match.number, where)
        if match.counted:
            self._counted.setdefault(match.number, where)
        return match.number

    def check(self) -> None:
        """Checks that class numbers start at 0, and that every evaluated class occurs in `train`.

        Raises:
            UserError: One of these does not hold.
        """
        names = self._task.labels
        if self._counted and 0 not in self._counted:
            where = next(iter(self._counted.values()))
            raise UserError(
                f"{where}: numbers stand for classes, counted from 0, but 0 ({names[0]}) never "
                "occurs; if the files count from 1, write the names instead"
            )
        for split in (*self._task.validation, *self._task.test):
            for number, where in self._first.get(split, {}).items():
                if number not in self._first["train"]:
                    raise UserError(
                        f"{where}: label {names[number]!r} does not occur in train, so it cannot be "
                        f"learned; add examples of it to train, or take it out of {split}"
                    )
