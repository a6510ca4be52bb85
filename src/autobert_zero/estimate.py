"""How long training takes here: a few steps are measured, the rest is counted."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autobert_zero.nn import EncoderConfig
from autobert_zero.space import Backbone
from autobert_zero.training.precision import Precision
from autobert_zero.training.speed import training_speed

MEASURED_STEPS = 3
"""Steps that are timed, after one that is not."""

_MEASURED_TOKENS = 2048


@dataclass(frozen=True)
class TrainingStage:
    """A part of a run in which all batches are alike.

    Attributes:
        name: What is done.
        backbone: What is trained, or stands for it.
        length: Tokens in a sequence.
        batch: Sequences in a batch that is computed at once.
        sequences: Sequences in all.
        with_head: Whether tokens are predicted, as in pre-training; a classifier's head hardly counts.
        checkpointing: Whether only the inputs of layers are kept for the backward pass, which computes the
            rest again.
    """

    name: str
    backbone: Backbone
    length: int
    batch: int
    sequences: int
    with_head: bool = True
    checkpointing: bool = False

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return self.sequences * self.length


def training_seconds(
    parts: Sequence[TrainingStage], sizes: EncoderConfig, precision: Precision, device: torch.device
) -> list[float]:
    """Measures a few steps of each kind of part.

    Args:
        parts: Of a run.
        sizes: Of the models.
        precision: Number format.
        device: Where to measure.

    Returns:
        The seconds of training that each part takes.
    """
    speeds: dict[tuple[Backbone, int, int, bool, bool], float] = {}
    seconds = []
    for part in parts:
        batch = max(min(part.batch, _MEASURED_TOKENS // part.length), 1)
        key = (part.backbone, batch, part.length, part.with_head, part.checkpointing)
        if key not in speeds:
            speeds[key] = training_speed(
                part.backbone,
                sizes,
                batch,
                part.length,
                precision,
                device,
                MEASURED_STEPS,
                part.with_head,
                part.checkpointing,
            )
        seconds.append(part.tokens / speeds[key])
    return seconds
