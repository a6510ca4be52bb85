"""The config of a fine-tuning: all settings with their defaults and bounds."""

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from autobert_zero.settings import COMPUTING, RunConfig
from autobert_zero.shared_config import Precision, Rates

_EPOCHS = 3
_MIN_UPDATES = 1000
_EVALUATIONS = 10
"""Number of evaluations of a training that `min_updates` makes longer than its epochs, which may be short."""


class FinetuneConfig(RunConfig):
    """How to fine-tune."""

    LEGACY_DEFAULTS: ClassVar = {"min_updates": 0}

    seed: int = Field(0, ge=0, lt=2**30)
    """The first seed, with which the rates are tried."""
    rates: Rates = Field((3e-4, 1e-3, 3e-3), min_length=1)
    """Peak learning rates that are tried with the first seed."""
    seeds: int = Field(3, ge=1)
    """Number of seeds, one after the other; those after the first train with the best rate."""
    epochs: int | None = Field(None, ge=1)
    """Maximum passes over the training data; None: 3, or as many as `min_updates` takes."""
    min_updates: int | None = Field(None, ge=0)
    """Minimum number of updates, so that small sets are learned; None: 1,000, or 0 where `epochs` is set."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a batch."""
    length: int | None = Field(None, ge=0)
    """Maximum tokens of a sequence; None: 128, or the model's positions where fewer; 0: all that it has."""
    patience: int = Field(3, ge=1)
    """Evaluations without a better result after which a training stops."""
    evaluations: int = Field(1, ge=1)
    """Evaluations per epoch; ten times as many in total where `min_updates` makes a training longer than its
    epochs."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's, on matrices only."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    precision: Precision = "auto"
    """Number format: `auto` (the fast one of the device), `fp32`, `tf32`, `bf16` or `fp16`."""
    device: Annotated[str, COMPUTING] = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
    steps: int = Field(0, ge=0)
    """Maximum updates; 0: the epochs decide."""
    pooling: Literal["auto", "cls", "mean", "cls+mean"] | None = None
    """What a classifier is given, see `AutoBertZeroConfig.classifier_pooling`; None: as the model says;
    `auto`: the best of all by the first validation split, at the best rate."""
    keep: Literal["none", "best", "all"] = "best"
    """Whose weights are kept: those of the training with the best validation score, all, or none."""

    def resolved(self) -> Self:
        """The same settings with numbers for `epochs` and `min_updates`."""
        least = _MIN_UPDATES if self.epochs is None else 0
        return self.model_copy(
            update={
                "epochs": self.epochs or _EPOCHS,
                "min_updates": least if self.min_updates is None else self.min_updates,
            }
        )

    def updates(self, examples: int) -> int:
        """Maximum number of updates for a training set of the given size.

        The minimum follows results on BERT: fine-tuning on small sets fails because three epochs are too few
        updates (Mosbach et al. 2021; Zhang et al. 2021).
        """
        settings = self.resolved()
        by_epochs = (settings.epochs or 0) * self._per_epoch(examples)
        return self.steps or max(by_epochs, settings.min_updates or 0)

    def interval(self, examples: int) -> int:
        """Number of updates between evaluations for a training set of the given size."""
        settings = self.resolved()
        per_epoch, updates = self._per_epoch(examples), self.updates(examples)
        longer = not self.steps and updates > (settings.epochs or 0) * per_epoch
        passes = max(per_epoch, math.ceil(updates / _EVALUATIONS)) if longer else per_epoch
        return max(passes // self.evaluations, 1)

    def _per_epoch(self, examples: int) -> int:
        return math.ceil(examples / self.batch_size)
