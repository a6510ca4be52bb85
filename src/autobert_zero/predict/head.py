"""The interface of a prediction task of any kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from autobert_zero.finetune.features import Features, run_model
from autobert_zero.finetune.models import Pretrained
from autobert_zero.predict.read import Row, Wanted
from autobert_zero.training.precision import Precision

Record = dict[str, Any]
"""A prediction as plain data; all records of a task have the same keys."""

_TOKENS = 32 * 512
"""Maximum number of tokens in a batch, padding included."""


@dataclass(frozen=True)
class Runner:
    """Runs a model over features.

    Attributes:
        model: With the head of the task.
        precision: Number format.
        batch_size: Maximum number of sequences in a batch.
        watch: Called with the share of the features that is done.
    """

    model: PreTrainedModel
    precision: Precision
    batch_size: int
    watch: Callable[[float], None] = lambda share: None

    def __call__(
        self, features: Features, reduce: Callable[[Any, Mapping[str, Tensor]], Sequence[Any]]
    ) -> list[Any]:
        """Returns what `reduce` makes of the output for each feature, in order; see `run_model`."""
        return run_model(
            self.model,
            features,
            self.batch_size,
            self.precision,
            reduce,
            _TOKENS,
            lambda done: self.watch(done / len(features)),
        )


class Head(ABC):
    """A prediction task with the model that predicts it.

    Attributes:
        auto: The Auto class that loads the model.
        wanted: The columns that the task takes.
        formats: The formats that its records can be written in.
        about: What it predicts, for the first line of the command.
    """

    auto: ClassVar[Any]
    wanted: Wanted = Wanted(counts=(1, 2))
    formats: tuple[str, ...] = ("jsonl", "csv", "tsv")
    about: str

    def check(self, row: Row) -> None:  # noqa: B027 - most tasks take every example
        """Checks an example before anything is predicted.

        Raises:
            UserError: The task cannot take it.
        """

    @abstractmethod
    def predict(self, rows: Sequence[Row], runner: Runner) -> tuple[list[Record], int]:
        """Predicts examples that are not empty: a record for each, and the number of texts that are cut."""

    @abstractmethod
    def nothing(self, row: Row) -> Record:
        """The record of an empty example."""

    def flat(self, record: Record) -> dict[str, Any]:
        """A record as cells of a table, for a head with such formats."""
        return record


def max_length(model: Pretrained) -> int | None:
    """Maximum number of tokens in a sequence: of the tokenizer or the model's positions; None: no limit."""
    limits = [model.tokenizer.model_max_length, model.positions]
    # A tokenizer without a limit says 10^30.
    return min((limit for limit in limits if limit is not None and limit < 10**9), default=None)


def class_names(model: Pretrained) -> list[str]:
    """The names of the classes, in the order of their numbers."""
    names: dict[int, str] = model.config.id2label
    return [names[number] for number in range(len(names))]


def shortest(values: Any) -> list[float]:
    """Single-precision numbers with as few digits as tell them apart: 0.1, not 0.10000000149011612."""
    return [float(str(value)) for value in np.asarray(values, dtype=np.float32)]
