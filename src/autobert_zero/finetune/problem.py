"""What the fine-tuning needs to know of a task, whatever its kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from transformers import PreTrainedModel

from autobert_zero.finetune.features import Features


class Problem(Protocol):
    """A task with its data, ready for a model.

    Attributes:
        name: What the task is called.
        metrics: Names of the metrics; the first one chooses the learning rate and the weights.
        validation: The splits that are evaluated; metrics of the first choose.
        test: The splits that are predicted.
        scored: The splits that have labels: those of `validation`, and of `test` those that have.
        features: By split; also `train`.
        outputs: Names of the model's outputs that decide.
        pooled: Whether the model has a classifier of whole sequences, whose pooling can be chosen.
        cut: Texts that lose their end because they are longer than a sequence.
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
        """From the outputs for each feature to predictions, plain data."""
        ...

    def measure(self, split: str, predictions: Any) -> dict[str, float]:
        """The metrics of the predictions of a split that is scored."""
        ...

    def baselines(self) -> Mapping[str, Mapping[str, Any]]:
        """Predictions of trivial predictors by their name, then by split, for the splits that are scored."""
        ...

    def constant(self, predictions: Any) -> str | None:
        """The class or value that all predictions of a split are; None where they differ."""
        ...

    def write(self, folder: Path, split: str, predictions: Any) -> None:
        """Writes the predictions of a split in the format that its benchmark takes."""
        ...
