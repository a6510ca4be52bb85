"""What a task of sentences or of pairs of sentences is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autobert_zero.errors import UserError
from autobert_zero.finetune.metrics import METRICS, OF_VALUES

_LONGEST_NAME = 100
"""Bytes; with a split and an ending it stays below the 255 of file systems."""


def is_file_name(name: str) -> bool:
    """Whether a name can be that of a file in a folder of ours, and of no other."""
    return (
        name.strip() not in ("", ".", "..")
        and len(name.encode(errors="replace")) <= _LONGEST_NAME
        and not any(character in "/\\" or not character.isprintable() for character in name)
    )


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
        test: The splits that are predicted, and scored where they have labels.
        hub: Dataset and configuration on the Hub; None for a task that has local files only.
        elsewhere: Dataset, configuration and split on the Hub of splits that are not in `hub`.
        submission: File names of the test predictions, one per test split.
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
        for what, names in (
            ("the name", (self.name,)),
            ("a split", (*self.validation, *self.test)),
        ):
            for name in names:
                if not is_file_name(name):
                    raise UserError(f"task {self.name!r}: {what} must do as the name of a file, not {name!r}")
        if not self.validation or set(self.validation) & {"train", *self.test}:
            raise UserError(
                f"task {self.name}: validation is one or more splits, none of train and those of test"
            )
        if len(self.columns) not in (1, 2):
            raise UserError(f"task {self.name}: columns are one or two, not {len(self.columns)}")
        for what, names in (
            ("column", (*self.columns, self.label)),
            ("label", self.labels),
            ("metric", self.metrics),
            ("split", ("train", *self.validation, *self.test)),
        ):
            repeated = next((name for name in names if names.count(name) > 1), None)
            if repeated is not None:
                raise UserError(f"task {self.name}: a {what} is there twice: {repeated}")
            if "" in names:
                raise UserError(f"task {self.name}: a {what} is empty")
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
