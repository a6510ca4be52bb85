"""Estimates the time of trainings here: a few steps are measured, the rest is computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autobert_zero.devices import out_of_memory, release_cached_memory
from autobert_zero.errors import UserError
from autobert_zero.nn import EncoderConfig
from autobert_zero.shared_config import Compile
from autobert_zero.space import Backbone
from autobert_zero.training.capture import captures, compiles
from autobert_zero.training.precision import Precision, resolve_precision
from autobert_zero.training.readings import Diverged
from autobert_zero.training.speed import TrainingSpeed, training_speed

_MEASURED_STEPS = 3
"""Minimum number of timed steps."""

_MEASURED_TOKENS = 2048
"""Tokens of a batch that a CPU is measured with; its speed hardly depends on it, that of a GPU does."""


@dataclass(frozen=True)
class TrainingStage:
    """A stage of a run, in which all batches are alike.

    Attributes:
        name: Name of the stage.
        backbone: The trained backbone, or one that stands for it.
        length: Tokens in a sequence.
        batch: Number of sequences in a batch that is computed at once.
        sequences: Total number of sequences.
        with_head: Whether tokens are predicted, as in pre-training; a classifier's head hardly counts.
        checkpointing: Whether only the inputs of layers are kept for the backward pass, which computes the
            rest again.
        compile: Mode of compilation of its steps.
    """

    name: str
    backbone: Backbone
    length: int
    batch: int
    sequences: int
    with_head: bool = True
    checkpointing: bool = False
    compile: Compile = "off"

    @property
    def tokens(self) -> int:
        """Total number of tokens."""
        return self.sequences * self.length


@dataclass(frozen=True)
class StageEstimate:
    """The estimated cost of a stage.

    Attributes:
        seconds: Seconds of training.
        batch: Number of sequences in the measured batch.
        speed: The measurement.
    """

    seconds: float
    batch: int
    speed: TrainingSpeed


def estimate_stages(
    stages: Sequence[TrainingStage], sizes: EncoderConfig, precision: Precision, device: torch.device
) -> list[StageEstimate]:
    """Measures a few steps of each kind of stage: captured where the run's are, but never compiled.

    An accelerator is measured with the stage's own batch, halved as long as it does not fit: with a small one
    it would wait for launches.

    Returns:
        The estimate of each stage.

    Raises:
        UserError: A loss is not finite in that number format.
        RuntimeError: Not even one sequence fits into the memory of the device.
    """
    measured: dict[tuple[Backbone, int, int, bool, bool, Compile], tuple[int, TrainingSpeed]] = {}
    estimates = []
    for stage in stages:
        batch = stage.batch
        if device.type == "cpu":
            batch = max(min(batch, _MEASURED_TOKENS // stage.length), 1)
        key = (stage.backbone, batch, stage.length, stage.with_head, stage.checkpointing, stage.compile)
        if key not in measured:
            measured[key] = _largest_measured(stage, batch, sizes, precision, device)
        size, speed = measured[key]
        estimates.append(StageEstimate(stage.tokens / speed.tokens_per_second, size, speed))
    return estimates


def uncompiled(stages: Sequence[TrainingStage]) -> str:
    """The end of a line about measured steps: that the run will compile what was measured as it is."""
    return ", not compiled" if any(compiles(stage.compile) for stage in stages) else ""


def _largest_measured(
    stage: TrainingStage, batch: int, sizes: EncoderConfig, precision: Precision, device: torch.device
) -> tuple[int, TrainingSpeed]:
    """The speed with a batch, or with the largest of its halves that fits, and that batch."""
    while True:
        try:
            return batch, training_speed(
                stage.backbone,
                sizes,
                batch,
                stage.length,
                precision,
                device,
                _MEASURED_STEPS,
                stage.with_head,
                stage.checkpointing,
                "capture" if captures(stage.compile) else "off",
            )
        except Diverged as error:
            raise UserError(
                f"new weights cannot be trained in {resolve_precision(precision, device)}: {error}; choose "
                "another precision"
            ) from None
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or batch == 1 or device.type == "cpu":
                raise
        release_cached_memory()  # the error, which kept the model, is gone
        batch //= 2
