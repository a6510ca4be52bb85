"""The interface of all prediction tasks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from autobert_zero.data.tables import first_duplicate
from autobert_zero.errors import UserError
from autobert_zero.finetune.features import Features, run_model
from autobert_zero.finetune.models import Pretrained
from autobert_zero.predict.read import Row, TaskColumns
from autobert_zero.training.precision import Precision

Record = dict[str, Any]
"""A prediction as plain data; all records of a task have the same keys."""

TOKENS = 32 * 512
"""Maximum number of tokens in a batch, including padding."""


@dataclass(frozen=True)
class Runner:
    """Runs a model over features.

    Attributes:
        model: The model, with the head of the task.
        precision: Number format.
        batch_size: Maximum number of sequences in a batch.
        token_limit: Maximum number of tokens in a batch, including padding.
        watch: Called with the share of the features that is done.
    """

    model: PreTrainedModel
    precision: Precision
    batch_size: int
    token_limit: int = TOKENS
    watch: Callable[[float], None] = lambda share: None

    def __call__(
        self, features: Features, reduce: Callable[[Any, Mapping[str, Tensor]], Sequence[Any]]
    ) -> list[Any]:
        """Returns the results of `reduce`, one per feature and in their order; see `run_model`.

        Raises:
            UserError: An output is not finite.
        """

        def reduce_finite(output: Any, inputs: Mapping[str, Tensor]) -> Sequence[Any]:
            if not _is_finite(output, inputs["attention_mask"].bool()):
                remedy = "" if self.precision == "fp32" else "; give --precision fp32"
                raise UserError(f"the model computes numbers that are not finite in {self.precision}{remedy}")
            return reduce(output, inputs)

        return run_model(
            self.model,
            features,
            self.batch_size,
            self.precision,
            reduce_finite,
            self.token_limit,
            lambda done: self.watch(done / len(features)),
        )


class Head(ABC):
    """A prediction task for a model.

    Attributes:
        auto: The Auto class that loads the model.
        task_columns: The columns that the task takes.
        formats: The formats in which its records can be written.
        token_limit: Maximum number of tokens in a batch, including padding.
        about: A description of its predictions, for the first line of the command.
    """

    auto: ClassVar[Any]
    task_columns: TaskColumns = TaskColumns(counts=(1, 2))
    formats: tuple[str, ...] = ("jsonl", "csv", "tsv")
    token_limit: int = TOKENS
    about: str

    def check(self, row: Row) -> None:  # noqa: B027 - most tasks take every example
        """Checks an example before anything is predicted.

        Raises:
            UserError: The task cannot take the example.
        """

    @property
    def remark(self) -> str | None:
        """A remark on all predictions so far, for the last line of the command."""
        return None

    @abstractmethod
    def predict(self, rows: Sequence[Row], runner: Runner) -> tuple[list[Record], int]:
        """Predicts non-empty examples; returns a record for each, and the number of texts that are cut."""

    @abstractmethod
    def empty_record(self, row: Row) -> Record:
        """The record of an empty example."""

    def flatten(self, record: Record) -> dict[str, Any]:
        """Turns a record into the cells of a table, for heads with such formats."""
        return record


def _is_finite(output: Any, mask: Tensor) -> bool:
    """Whether the outputs of a batch are finite, without those of padding, where `mask` (B, n) is False."""
    for name in ("logits", "start_logits", "end_logits", "last_hidden_state"):
        values = getattr(output, name, None)
        if values is None:
            continue
        of_tokens = name != "logits" or values.ndim == 3
        if name.endswith("_logits"):
            values = values[..., None]  # (B, n, 1), all others are (B, c), (B, n, v) or (B, n, d)
        low, high = values.aminmax(dim=-1)  # NaN, if there is one
        finite = low.isfinite() & high.isfinite()
        if not (finite[mask] if of_tokens else finite).all():
            return False
    return True


def max_length(model: Pretrained) -> int | None:
    """Maximum number of tokens in a sequence, by the tokenizer and the model; None if there is no limit."""
    limits = [model.tokenizer.model_max_length, model.positions]
    # The limit of a tokenizer without one is 10^30.
    return min((limit for limit in limits if limit is not None and limit < 10**9), default=None)


def class_names(model: Pretrained) -> list[str]:
    """The names of the classes, in the order of their indices.

    Raises:
        UserError: A class has no name, or two have the same.
    """
    names: dict[int, str] = model.config.id2label
    place = f"config.json of {model.source}: id2label"
    if sorted(names) != list(range(len(names))):
        listed = ", ".join(map(str, sorted(names)))
        raise UserError(f"{place} has names for the classes {listed}; number them 0 to {len(names) - 1}")
    ordered = [names[number] for number in range(len(names))]
    if (name := first_duplicate(ordered)) is not None:
        raise UserError(f"{place} names two classes {name!r}; give each its own name")
    return ordered


def shortest(values: Any) -> list[float]:
    """Converts single-precision numbers to the shortest decimals: 0.1, not 0.10000000149011612."""
    return [float(str(value)) for value in np.asarray(values, dtype=np.float32)]
