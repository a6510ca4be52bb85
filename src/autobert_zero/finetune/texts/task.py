"""Tasks of sentences or pairs of sentences, and the settings of users' files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autobert_zero.errors import UserError, counted
from autobert_zero.finetune.metrics import METRICS, REGRESSION_METRICS
from autobert_zero.finetune.task_file import YamlText, YamlTexts
from autobert_zero.settings import Section

TEXT_COLUMNS = "text_columns"
"""Name in a model's config of the columns that it was fine-tuned on, which predictions read by default."""

_LONGEST_NAME = 100
"""Maximum bytes of a name; with a split and an ending it fits the 255 of file systems."""


def is_file_name(name: str) -> bool:
    """Whether a name can be used as a file name in our folders."""
    return (
        name.strip() not in ("", ".", "..")
        and len(name.encode(errors="replace")) <= _LONGEST_NAME
        and not any(character in "/\\" or not character.isprintable() for character in name)
    )


def check_splits(name: str, validation: tuple[str, ...], test: tuple[str, ...]) -> None:
    """Checks the names of a task and its splits, which become file names.

    Raises:
        UserError: A name cannot be a file name, or a split has two roles or none.
    """
    for what, names in (("the name", (name,)), ("a split", (*validation, *test))):
        for checked in names:
            if not is_file_name(checked):
                raise UserError(f"task {name!r}: {what} must do as the name of a file, not {checked!r}")
    if not validation or set(validation) & {"train", *test}:
        raise UserError(
            f"task {name}: validation must be one or more splits other than train and test splits"
        )
    check_names(name, split=("train", *validation, *test))


def check_names(task: str, **names: tuple[str, ...]) -> None:
    """Checks that names of a task are not empty and not repeated.

    Args:
        task: Name of the task.
        names: Names by their kind (such as `split`), for messages.

    Raises:
        UserError: One of these does not hold.
    """
    for what, given in names.items():
        repeated = next((name for name in given if given.count(name) > 1), None)
        if repeated is not None:
            raise UserError(f"task {task}: a {what} is there twice: {repeated}")
        if "" in given:
            raise UserError(f"task {task}: a {what} is empty")


@dataclass(frozen=True)
class Task:
    """A sentence or sentence-pair task.

    Attributes:
        name: Name of the task.
        columns: One or two columns with text.
        labels: Names of the classes in the order of their numbers; empty for a regression.
        metrics: Names in `METRICS`, of which the first chooses the learning rate and the epoch; a table
            averages all.
        label: Column with the number or name of the class, or the value.
        validation: Splits that are evaluated; the metrics of the first choose.
        test: Splits that are predicted, and scored if they have labels.
        hub: Dataset and configuration on the Hub; None for a task with local files only.
        elsewhere: Dataset, configuration and split on the Hub, for splits that are not in `hub`.
        submission: File names of the test predictions, one per test split.
        names: Class names of the fine-tuned model, if `labels` are numbers; empty to use `labels`.

    Raises:
        UserError: A name or a combination of settings is invalid.
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
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_splits(self.name, self.validation, self.test)
        if len(self.columns) not in (1, 2):
            raise UserError(f"task {self.name}: there must be one or two columns, not {len(self.columns)}")
        check_names(self.name, column=(*self.columns, self.label), label=self.labels, metric=self.metrics)
        if len(self.labels) == 1:
            raise UserError(f"task {self.name}: one label leaves nothing to learn; give several, or none")
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            given = ", ".join(unknown) or "none"
            raise UserError(f"task {self.name}: metrics must be among {', '.join(METRICS)}, not {given}")
        fitting = [name for name in METRICS if self._fits(name)]
        unfit = [name for name in self.metrics if name not in fitting]
        if unfit:
            kind = counted(len(self.labels), "label") if self.labels else "a regression (no labels)"
            raise UserError(
                f"task {self.name}: {unfit[0]} does not fit {kind}; there are {', '.join(fitting)}"
            )

    def _fits(self, metric: str) -> bool:
        if metric == "f1":
            return len(self.labels) == 2
        return self.regression == (metric in REGRESSION_METRICS)

    def folder(self, data: Path) -> Path:
        """The folder of its files in a folder of tasks: its name, or that of GLUE's archive."""
        archives = [data / Path(name).stem.removesuffix("-m") for name in self.submission[:1]]
        return next((place for place in archives if place.is_dir()), data / self.name)

    @property
    def regression(self) -> bool:
        """Whether labels are values."""
        return not self.labels


class TextTaskFile(Section):
    """The settings of users' YAML files that all tasks of texts have, see `Task`."""

    name: YamlText
    columns: YamlTexts
    label: YamlText = Task.label
    validation: YamlTexts = Task.validation
    test: YamlTexts = Task.test
