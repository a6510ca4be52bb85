"""Tasks of tagging words: the built-in ones, and the settings of users' YAML files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from autobert_zero.errors import UserError
from autobert_zero.finetune.metrics import TAG_METRICS
from autobert_zero.finetune.tags.conll import Column
from autobert_zero.finetune.tags.schemes import SCHEMES, Scheme
from autobert_zero.finetune.task_checks import check_names, check_splits
from autobert_zero.finetune.task_file import YamlText, YamlTexts, as_text
from autobert_zero.settings import Section


@dataclass(frozen=True)
class TagTask:
    """A task that gives each word of a sentence a tag: names of entities, parts of speech.

    Attributes:
        name: Name of the task.
        token_column: Column of the words; None for the default of the format, see `read_conll`.
        tag_column: Column of the tags; None for the default of the format.
        scheme: How tags mark entities; None to recognise it from the data.
        metrics: Names in `TAG_METRICS`, of which the first chooses; empty for all that fit the scheme.
        validation: Splits that are evaluated; the metrics of the first choose.
        test: Splits that are predicted.
        hub: Dataset and configuration on the Hub, the latter empty if there is no choice; None for a task
            with local files only.
        files: Names of the benchmark's own files by split.

    Raises:
        UserError: A name or a combination of settings is invalid.
    """

    name: str
    token_column: Column | None = None
    tag_column: Column | None = None
    scheme: Scheme | None = None
    metrics: tuple[str, ...] = ()
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)
    hub: tuple[str, str] | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_splits(self.name, self.validation, self.test)
        check_names(self.name, metric=self.metrics)
        if self.token_column == self.tag_column is not None:
            raise UserError(f"task {self.name}: token_column and tag_column are both {self.tag_column}")
        if 0 in (self.token_column, self.tag_column):
            raise UserError(
                f"task {self.name}: columns count from 1, or from -1 for the last one; there is no 0"
            )
        if self.scheme is not None and self.scheme not in SCHEMES:
            raise UserError(
                f"task {self.name}: scheme must be one of {', '.join(SCHEMES)}, not {self.scheme}; leave it "
                "out to recognise the scheme"
            )
        unknown = [name for name in self.metrics if name not in TAG_METRICS]
        if unknown:
            raise UserError(
                f"task {self.name}: metrics must be among {', '.join(TAG_METRICS)}, not {', '.join(unknown)}"
            )

    def folder(self, data: Path) -> Path:
        """The folder of its files in a folder of tasks."""
        return data / self.name


TAG_TASKS: dict[str, TagTask] = {
    task.name: task
    for task in (
        TagTask(
            "wnut17",
            hub=("leondz/wnut_17", ""),
            files={
                "train": "wnut17train.conll",
                "validation": "emerging.dev.conll",
                "test": "emerging.test.annotated",
            },
        ),
        TagTask(
            "conll2003",
            hub=("eriktks/conll2003", ""),
            files={"train": "eng.train", "validation": "eng.testa", "test": "eng.testb"},
        ),
    )
}
"""Emerging entities in user-generated text (Derczynski et al. 2017); names in news (Tjong Kim Sang and De
Meulder 2003)."""


def _column(value: Any) -> Column:
    name = as_text(value)
    return int(name) if re.fullmatch(r"-?\d{1,9}", name) else name


def _dataset(value: Any) -> tuple[str, str]:
    dataset, _, configuration = as_text(value).partition(":")
    return dataset, configuration


class TagTaskFile(Section):
    """The settings of a user's YAML file, see `TagTask`."""

    name: YamlText
    token_column: Annotated[Column | None, BeforeValidator(_column)] = None
    tag_column: Annotated[Column | None, BeforeValidator(_column)] = None
    scheme: Annotated[str | None, BeforeValidator(as_text)] = None
    metrics: YamlTexts = ()
    validation: YamlTexts = TagTask.validation
    test: YamlTexts = TagTask.test
    hub: Annotated[tuple[str, str] | None, BeforeValidator(_dataset)] = None
