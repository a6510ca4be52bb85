"""The table of tasks of texts; a new one is one entry here, or a user's YAML file."""

from typing import Any

from autobert_zero.finetune.task_file import YamlTexts
from autobert_zero.finetune.texts.task import Task, TextTaskFile


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
"""The Hub's names of the classes, for tasks whose files have numbers."""
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


class TaskFile(TextTaskFile):
    """The settings of a user's YAML file, see `Task`."""

    labels: YamlTexts = ()
    metrics: YamlTexts
