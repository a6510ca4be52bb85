"""The table of tasks: a new one is one entry here, or a YAML file of the user."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from autobert_zero.config import read_yaml
from autobert_zero.errors import UserError
from autobert_zero.finetune.metrics import METRICS, OF_VALUES


@dataclass(frozen=True)
class Task:
    """A sentence or sentence-pair task.

    Attributes:
        name: What it is called.
        columns: The one or two columns with text.
        labels: Names of the classes in the order of their numbers; empty for a regression.
        metrics: Of `METRICS`; the first chooses the learning rate and the epoch, all are averaged in a table.
        label: The column with the number of the class, its name, or the value.
        validation: The splits that are evaluated; metrics of the first choose.
        test: The splits that are predicted.
        hub: Dataset and configuration on the Hub; None for a task that has local files only.
        elsewhere: Dataset, configuration and split on the Hub of splits that are not in `hub`.
        submission: File names of the test predictions, one a test split.
    """

    name: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    label: str = "label"
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)
    hub: tuple[str, str] | None = None
    elsewhere: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    submission: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.columns) not in (1, 2):
            raise UserError(f"task {self.name}: columns are one or two, not {len(self.columns)}")
        if len(set(self.labels)) < len(self.labels):
            raise UserError(f"task {self.name}: a label is there twice: {', '.join(self.labels)}")
        if not self.validation or set(self.validation) & {"train", *self.test}:
            raise UserError(
                f"task {self.name}: validation is one or more splits, none of train and those of test"
            )
        if len(self.labels) == 1:
            raise UserError(f"task {self.name}: one label leaves nothing to learn; give several, or none")
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            given = ", ".join(unknown) or "none"
            raise UserError(f"task {self.name}: metrics are some of {', '.join(METRICS)}, not {given}")
        fitting = [name for name in METRICS if self._fits(name)]
        unfit = [name for name in self.metrics if name not in fitting]
        if unfit:
            kind = f"{len(self.labels)} labels" if self.labels else "a regression (no labels)"
            raise UserError(
                f"task {self.name}: {unfit[0]} does not fit {kind}; there are {', '.join(fitting)}"
            )

    def _fits(self, metric: str) -> bool:
        if metric == "f1":
            return len(self.labels) == 2
        return self.regression == (metric in OF_VALUES)

    def folder(self, data: Path) -> Path:
        """Where the task's files are in a folder of tasks: under its name, or that of GLUE's archive."""
        archives = [data / Path(name).stem.removesuffix("-m") for name in self.submission[:1]]
        return next((place for place in archives if place.is_dir()), data / self.name)

    @property
    def regression(self) -> bool:
        """Whether labels are values."""
        return not self.labels


def _glue(name: str, columns: tuple[str, ...], labels: tuple[str, ...], *metrics: str, **more: Any) -> Task:
    return Task(name, columns, labels, metrics, hub=("nyu-mll/glue", name), **more)


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


def find_task(name: str, others: Iterable[str] = ()) -> Task:
    """Finds a task by its name, or reads it from a YAML file.

    Args:
        name: The name, or the path of the file.
        others: Names of tasks of other kinds, to tell the user of.

    Raises:
        UserError: There is no such task, or the file does not describe one.
    """
    if name in TASKS:
        return TASKS[name]
    if not name.endswith((".yaml", ".yml")):
        raise UserError(
            f"unknown task {name!r}; there are {', '.join((*TASKS, *others))}, or a YAML file of your own"
        )
    content = {str(key): value for key, value in read_yaml(Path(name)).items()}
    known = {each.name for each in fields(Task)} - {"hub", "elsewhere", "submission"}
    unknown = sorted(set(content) - known)
    if unknown:
        raise UserError(f"{name}: unknown key {unknown[0]}; there are {', '.join(sorted(known))}")
    missing = [key for key in ("columns", "metrics") if key not in content]
    if missing:
        raise UserError(f"{name}: {missing[0]} is missing")
    settings = {"name": Path(name).stem, "labels": (), **content}
    for key in ("columns", "labels", "metrics", "validation", "test"):
        if isinstance(settings.get(key), list):
            settings[key] = tuple(map(str, settings[key]))
        elif key in settings and not isinstance(settings[key], tuple):
            raise UserError(f"{name}: {key} must be a list")
    for key in ("name", "label"):
        if not isinstance(settings.get(key, ""), str):
            raise UserError(f"{name}: {key} must be a text, not {settings[key]!r}")
    if Path(settings["name"]).name != settings["name"]:
        raise UserError(f"{name}: name must do as the name of a file, not {settings['name']!r}")
    return Task(**settings)
