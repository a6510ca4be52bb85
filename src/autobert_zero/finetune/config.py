"""The settings of a fine-tuning: every one, its default and its bounds."""

from typing import Literal

from pydantic import Field

from autobert_zero.config import RunConfig


class Settings(RunConfig):
    """How to fine-tune."""

    epochs: int = Field(3, ge=1)
    """Maximum passes over the training data."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a batch."""
    length: int | None = Field(None, ge=0)
    """Maximum tokens of a sequence; None: 128, or the model's positions where fewer; 0: all that it has."""
    patience: int = Field(3, ge=1)
    """Evaluations without a better result after which a training stops."""
    evaluations: int = Field(1, ge=1)
    """Evaluations in an epoch."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's, on matrices only."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the hardware multiplies it, else fp32."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `mps`."""
    steps: int = Field(0, ge=0)
    """Maximum updates; 0: the epochs decide."""
    pooling: Literal["cls", "mean"] | None = None
    """What a classifier is given, see `AutoBertZeroConfig.classifier_pooling`; None: as the model says."""
    keep: Literal["none", "best", "all"] = "best"
    """Whose weights are kept: those of the training with the best validation score, all, or none."""
