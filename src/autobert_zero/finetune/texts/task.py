"""Tasks of sentences or pairs of sentences, and the settings of users' files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autobert_zero.errors import UserError, counted
from autobert_zero.finetune.metrics import METRICS, REGRESSION_METRICS
from autobert_zero.finetune.task_checks import check_names, check_splits
from autobert_zero.finetune.task_file import YamlText, YamlTexts
from autobert_zero.settings import Section

TEXT_COLUMNS = "text_columns"
"""Name in a model's config of the columns that it was fine-tuned on, which predictions read by default."""


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
