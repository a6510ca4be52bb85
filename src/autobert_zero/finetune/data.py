"""The examples of a task, from local files or the Hub, checked before anything is trained."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset

from autobert_zero.errors import UserError
from autobert_zero.finetune.tasks import Task

_ALIASES = {
    "label": ("Quality", "is_duplicate", "score", "gold_label"),
    "sentence1": ("#1 String",),
    "sentence2": ("#2 String",),
    "premise": ("sentence1",),
    "hypothesis": ("sentence2",),
}
"""Columns of GLUE's own files by the names of the Hub."""

_COLA = ("source", "label", "star", "sentence")  # its file has no header
_STEMS = {
    "validation": "dev",
    "validation_matched": "dev_matched",
    "validation_mismatched": "dev_mismatched",
    "ax": "diagnostic",
}
_LONGEST_FIELD = 2**31 - 1  # of a table; the csv module's own limit is 128 KiB

Example = dict[str, Any]


def load_splits(task: Task, folder: Path | None) -> dict[str, Dataset]:
    """Loads all splits of a task.

    Args:
        task: Which.
        folder: Has a file for each split: `train.jsonl`, `.csv`, or `.tsv` (GLUE's own files too, where the
            validation split is `dev`); None loads from the Hub.

    Returns:
        By name: `train`, those of `task.validation`, and those of `task.test` that there are. The columns
        are `text`, `pair` for pairs, and, but in test splits, `label`: an integer, or a float for a
        regression.

    Raises:
        UserError: A split is missing or empty, a line is broken (its number is named), a column is missing,
            or a label is none of the task's.
    """
    splits = {}
    for split in ("train", *task.validation, *task.test):
        place, examples = _read(task, folder, split)
        if examples is None:
            if split not in task.test:
                raise UserError(f"task {task.name}: {place} is missing")
            continue
        rows = [_checked(task, example, f"{place}, {where}", split) for where, example in examples]
        if not rows:
            raise UserError(f"task {task.name}: {place} has no examples")
        if split in task.test:  # benchmarks hide these labels; ours are not needed
            rows = [{key: value for key, value in row.items() if key != "label"} for row in rows]
        splits[split] = Dataset.from_list(rows)
    return splits


def _read(task: Task, folder: Path | None, split: str) -> tuple[str, Iterator[tuple[str, Example]] | None]:
    """Where a split is, and its examples, each with where it stands; None if there is no such split."""
    if folder is None:
        return _from_hub(task, split)
    if not folder.is_dir():
        raise UserError(f"task {task.name}: there is no folder {folder}")
    for stem in (split, _STEMS.get(split, split)):
        for suffix, read in (("jsonl", _jsonl), ("csv", _csv), ("tsv", _tsv)):
            path = folder / f"{stem}.{suffix}"
            if path.exists():
                return str(path), read(path, task)
    return f"{folder / split}.jsonl (or .csv, .tsv)", None


def _from_hub(task: Task, split: str) -> tuple[str, Iterator[tuple[str, Example]] | None]:
    if task.hub is None:
        raise UserError(f"task {task.name} is not on the Hub: name the folder of its files with --data")
    dataset, configuration, of_hub = task.elsewhere.get(split, (*task.hub, split))
    place = ":".join((dataset, configuration, of_hub))
    try:
        loaded = load_dataset(dataset, configuration, split=of_hub)
    except Exception as error:  # of many kinds: no network, no such dataset
        if str(error).startswith("Unknown split"):
            return place, None
        reason = str(error).splitlines()[0]
        raise UserError(
            f"task {task.name} cannot be loaded from the Hub ({reason}); name a folder with --data"
        ) from None
    return place, ((f"example {number}", example) for number, example in enumerate(loaded, start=1))


def _jsonl(path: Path, task: Task) -> Iterator[tuple[str, Example]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(_decoded(path, lines), start=1):
            if not line.strip():
                continue
            try:
                example = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}: not JSON: {error}") from None
            if not isinstance(example, dict):
                raise UserError(f"{path}, line {number}: not a JSON object")
            yield f"line {number}", example


def _csv(path: Path, task: Task) -> Iterator[tuple[str, Example]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = _rows(path, csv.reader(_decoded(path, lines)))
        names = _once_each(path, next(rows, (0, []))[1])
        for line, row in rows:
            if len(row) > len(names):
                raise UserError(f"{path}, line {line}: {len(row)} columns, not {len(names)}; quote the text")
            yield _named(path, line, row, names)


def _tsv(path: Path, task: Task) -> Iterator[tuple[str, Example]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(_decoded(path, lines), delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = _rows(path, reader)
        first = next(rows, (0, []))
        headless = task.name == "cola" and "sentence" not in first[1]
        names = _COLA if headless else _once_each(path, first[1])
        for line, row in chain([first], rows) if headless else rows:
            if task.name == "qqp" and len(row) < len(names):
                continue  # its own file has some such lines; nobody counts them
            yield _named(path, line, row, names)


def _rows(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its first line."""
    csv.field_size_limit(_LONGEST_FIELD)
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: {error}; is a quote left open?") from None


def _once_each(path: Path, names: Sequence[str]) -> Sequence[str]:
    """The names of the columns, none of which is there twice."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path} has two columns {twice!r}")
    return names


def _named(path: Path, line: int, row: Sequence[str], names: Sequence[str]) -> tuple[str, Example]:
    if len(row) < len(names):
        raise UserError(f"{path}, line {line}: {len(row)} columns, not {len(names)}")
    return f"line {line}", dict(zip(names, row, strict=False))


def _decoded(path: Path, lines: Iterator[str] | Any) -> Iterator[str]:
    try:
        yield from lines
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from None


def _checked(task: Task, example: Example, where: str, split: str) -> Example:
    """An example under our names, its label a number."""
    row: Example = {}
    for column, ours in zip(task.columns, ("text", "pair"), strict=False):
        value = _cell(example, column)
        if not isinstance(value, str):
            has = ", ".join(map(str, example))
            raise UserError(f"task {task.name}: {where}: no text in column {column!r}; there are {has}")
        row[ours] = value
    value = _cell(example, task.label)
    if split not in task.test:
        row["label"] = _label(task, value, where)
    return row


def _cell(example: Example, column: str) -> Any:
    names = (column, *_ALIASES.get(column, ()))
    return next((example[name] for name in names if name in example), None)


def _label(task: Task, value: Any, where: str) -> int | float:
    if value is None:
        raise UserError(f"task {task.name}: {where}: no column {task.label!r}")
    if task.regression:
        number = _number(value)
        if number is None:
            raise UserError(f"task {task.name}: {where}: label {value!r} is not a number")
        return number
    if str(value) in task.labels:
        return task.labels.index(str(value))
    number = _number(value)
    if number is None or number not in range(len(task.labels)):
        raise UserError(
            f"task {task.name}: {where}: label {value!r} is none of {', '.join(task.labels)}, "
            f"nor a number from 0 to {len(task.labels) - 1}"
        )
    return int(number)


def _number(value: Any) -> float | None:
    """None for what is no number, or not a finite one."""
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
