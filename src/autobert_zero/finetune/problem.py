"""The interface of a task for fine-tuning, whatever its kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from transformers import PreTrainedModel

from autobert_zero.finetune.features import Features


class Problem(Protocol):
    """A task with its data, ready for a model.

    Attributes:
        name: Name of the task.
        metrics: Names of the metrics; the first one chooses the learning rate and the weights.
        validation: Splits that are evaluated; the metrics of the first choose.
        test: Splits that are predicted.
        scored: Splits with labels: all of `validation`, and some of `test`.
        features: Features by split, including `train`.
        outputs: Names of the model's outputs from which predictions are made.
        pooled: Whether the model classifies whole sequences, so that its pooling can be chosen.
        cut: Number of texts that are cut because they are longer than a sequence.
        notes: Remarks for the user on how the data were read, one per line.
    """

    name: str
    metrics: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    scored: tuple[str, ...]
    features: Mapping[str, Features]
    outputs: tuple[str, ...]
    pooled: bool
    cut: int
    notes: tuple[str, ...]

    def load(self, source: str, **changes: Any) -> PreTrainedModel:
        """The pre-trained encoder with a new head, after changes to its config."""
        ...

    def decide(self, split: str, outputs: list[list[Any]]) -> Any:
        """Predictions from the outputs for each feature, as plain data."""
        ...

    def measure(self, split: str, predictions: Any) -> dict[str, float]:
        """The metrics of the predictions of a split that is scored."""
        ...

    def baselines(self) -> Mapping[str, Mapping[str, Any]]:
        """Predictions of trivial predictors for the scored splits, by predictor, then by split."""
        ...

    def constant(self, predictions: Any) -> str | None:
        """The class or value of all predictions of a split if they are the same, else None."""
        ...

    def write(self, folder: Path, split: str, predictions: Any) -> None:
        """Writes the predictions of a split in the format of its benchmark."""
        ...
