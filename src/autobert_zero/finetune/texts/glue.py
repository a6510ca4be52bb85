"""The table of tasks: a new one is one entry here, or a YAML file of the user."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.finetune.texts.task import Task


def _glue(name: str, columns: tuple[str, ...], labels: tuple[str, ...], *metrics: str, **more: Any) -> Task:
    names = _NAMES.get(name, ())
    return Task(name, columns, labels, metrics, hub=("nyu-mll/glue", name), names=names, **more)


_NAMES = {
    "cola": ("unacceptable", "acceptable"),
    "sst2": ("negative", "positive"),
    "mrpc": ("not_equivalent", "equivalent"),
    "qqp": ("not_duplicate", "duplicate"),
    "wnli": ("not_entailment", "entailment"),
}
"""What the Hub calls the classes of the tasks whose files have numbers."""
_PAIR = ("sentence1", "sentence2")
_ENTAILS = ("entailment", "not_entailment")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _glue("cola", ("sentence",), ("0", "1"), "matthews", submission=("CoLA.tsv",)),
        _glue("sst2", ("sentence",), ("0", "1"), "accuracy", submission=("SST-2.tsv",)),
        _glue("mrpc", _PAIR, ("0", "1"), "f1", "accuracy", submission=("MRPC.tsv",)),
        _glue("stsb", _PAIR, (), "spearman", "pearson", submission=("STS-B.tsv",)),
        _glue("qqp", ("question1", "question2"), ("0", "1"), "f1", "accuracy", submission=("QQP.tsv",)),
        _glue(
            "mnli",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
            "accuracy",
            validation=("validation_matched", "validation_mismatched"),
            test=("test_matched", "test_mismatched", "ax"),
            elsewhere={"ax": ("nyu-mll/glue", "ax", "test")},
            submission=("MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"),
        ),
        _glue("qnli", ("question", "sentence"), _ENTAILS, "accuracy", submission=("QNLI.tsv",)),
        _glue("rte", _PAIR, _ENTAILS, "accuracy", submission=("RTE.tsv",)),
        _glue("wnli", _PAIR, ("0", "1"), "accuracy", submission=("WNLI.tsv",)),
    )
}
"""GLUE (Wang et al. 2019). AX has no training set: it is predicted by the model of MNLI."""


_LISTS = ("columns", "labels", "metrics", "validation", "test")
_TEXTS = ("name", "label")


def parse_task(path: Path, content: dict[str, Any]) -> Task:
    """A task of the user.

    Args:
        path: Its file, for messages and as its name.
        content: What the file holds; every value is the text that is written.

    Raises:
        UserError: It does not describe a task.
    """
    check_keys(path, content, _LISTS, _TEXTS)
    missing = [key for key in ("columns", "metrics") if key not in content]
    if missing:
        raise UserError(f"{path}: {missing[0]} is missing")
    lists = {key: tuple(content[key]) for key in _LISTS if key in content}
    try:
        return Task(**{"name": path.stem, "labels": (), **content, **lists})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def check_keys(path: Path, content: dict[str, Any], lists: Sequence[str], texts: Sequence[str]) -> None:
    """Checks the keys of a user's file, and the type of each value.

    Args:
        path: The file, for messages.
        content: What it holds.
        lists: The keys of lists of texts.
        texts: The keys of texts.

    Raises:
        UserError: A key is none of these, or its value is of another type.
    """
    for key, value in content.items():
        if key not in (*lists, *texts):
            known = ", ".join(sorted((*lists, *texts)))
            close = get_close_matches(key, (*lists, *texts), 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UserError(f"{path}: unknown key {key}; there are {known}{hint}")
        if key in texts and not isinstance(value, str):
            raise UserError(f"{path}: {key} must be a text, not {type(value).__name__}")
        if key in lists and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            raise UserError(f"{path}: {key} must be a list of texts, for example [{key[0]}1, {key[0]}2]")
