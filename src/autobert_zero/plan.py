"""Plans a run before it is started: parameters, operations, tokens, memory and time."""

from dataclasses import dataclass

import torch

from autobert_zero import cost
from autobert_zero.data.masking import MASKED_SHARE
from autobert_zero.devices import describe_device
from autobert_zero.errors import UserError, unknown_name
from autobert_zero.estimate import StageEstimate, TrainingStage, estimate_stages, uncompiled
from autobert_zero.measure import training_memory
from autobert_zero.nn import EncoderConfig
from autobert_zero.progress import duration
from autobert_zero.training.precision import Precision


@dataclass(frozen=True)
class Hardware:
    """A processor.

    Attributes:
        name: Name of the processor.
        single: Operations per second of dense matrix products in single precision, from its data sheet.
        half: The same in fp16, and in bf16 if it has that.
        bf16: Whether it computes in bf16, and in TF32 at half of that peak.
        utilisation: Share of the peak that training an encoder is assumed to reach.
    """

    name: str
    single: float
    half: float
    bf16: bool
    utilisation: float

    def peak(self, precision: Precision) -> tuple[str, float]:
        """The format that a run with this precision computes in here, and its peak.

        Raises:
            UserError: It does not compute in this format.
        """
        if precision in ("bf16", "tf32") and not self.bf16:
            raise UserError(
                f"precision {precision}: {self.name} does not compute in it; choose auto, fp16 or fp32"
            )
        if precision == "fp32":
            return "single precision", self.single
        if precision == "tf32":
            return "TF32", self.half / 2
        return "bf16" if self.bf16 and precision != "fp16" else "fp16", self.half


HARDWARE = {
    hardware.name: hardware
    for hardware in (
        Hardware("t4", 8.1e12, 65e12, False, 0.30),
        Hardware("v100", 15.7e12, 125e12, False, 0.35),
        Hardware("rtx3090", 35.6e12, 71e12, True, 0.40),
        Hardware("rtx4090", 82.6e12, 165e12, True, 0.40),
        Hardware("a100", 19.5e12, 312e12, True, 0.40),
        Hardware("h100", 67e12, 989e12, True, 0.35),
    )
}
"""Peaks of data sheets, without sparsity; utilisations are assumptions, not measurements."""


@dataclass(frozen=True)
class StagePlan:
    """The estimated cost of a stage of a run.

    Attributes:
        name: Name of the stage.
        tokens: Tokens that it processes.
        batch_size: Sequences in a batch.
        length: Tokens in a sequence.
        flops: Total number of operations.
        memory_bytes: Peak memory of a device, as estimated.
        seconds: On all devices together.
        measured_bytes: Peak memory that the device had allocated, if it counts that.
        measured_batch: Sequences in the batches that were measured.
    """

    name: str
    tokens: int
    batch_size: int
    length: int
    flops: float
    memory_bytes: float
    seconds: float
    measured_bytes: float | None
    measured_batch: int | None

    def __str__(self) -> str:
        measured = ""
        if self.measured_bytes is not None:
            fewer = self.measured_batch != self.batch_size
            smaller = f" with {self.measured_batch} sequences, as many as fit" if fewer else ""
            measured = f" ({self.measured_bytes / 1e9:.2f} GB measured{smaller})"
        return (
            f"{self.name}: {self.tokens:,} tokens in batches of {self.batch_size} x {self.length}, "
            f"{self.flops:.2e} FLOPs, about {self.memory_bytes / 1e9:.2f} GB of memory{measured}, "
            f"{duration(self.seconds)}"
        )


@dataclass(frozen=True)
class RunPlan:
    """The estimated cost of a run.

    Attributes:
        parameters: Weights of the largest model.
        stages: Stages of the run.
        seconds: Total seconds.
        device_hours: Total device-hours.
        basis: Basis of the times, in words.
    """

    parameters: int
    stages: tuple[StagePlan, ...]
    seconds: float
    device_hours: float
    basis: str

    def __str__(self) -> str:
        total = f"in all about {duration(self.seconds)} of training, {self.device_hours:,.1f} device-hours"
        lines = [f"{self.parameters:,} parameters", *map(str, self.stages), total]
        return "\n".join([*lines, f"({self.basis})"])


def plan(
    stages: list[TrainingStage],
    sizes: EncoderConfig,
    hardware: str | None,
    devices: int,
    precision: Precision,
    device: torch.device,
) -> RunPlan:
    """Estimates the cost of a run.

    Args:
        stages: The stages of the run.
        sizes: Sizes of the models.
        hardware: A name of `HARDWARE`; None measures a few steps here.
        devices: Number of devices, assumed to share the work without loss.
        precision: Number format of the measured steps.
        device: Device to measure on.

    Raises:
        UserError: There is no such hardware, or it does not compute in the format.
    """
    if hardware is not None and hardware not in HARDWARE:
        raise UserError(unknown_name("hardware", hardware, HARDWARE))
    flops = [stage.sequences * _training_flops(stage, sizes) for stage in stages]
    measured: list[StageEstimate] | list[None] = [None] * len(stages)
    if hardware is None:
        measured = estimate_stages(stages, sizes, precision, device)
        seconds = [stage.seconds / devices for stage in measured]
        steps = min(stage.speed.steps for stage in measured)
        basis = f"from {steps} steps measured on {describe_device(device)}{uncompiled(stages)}"
    else:
        chosen = HARDWARE[hardware]
        number_format, peak = chosen.peak(precision)
        seconds = [stage_flops / (peak * chosen.utilisation * devices) for stage_flops in flops]
        basis = (
            f"assuming {devices} x {hardware}: {chosen.utilisation:.0%} of a peak of "
            f"{peak / 1e12:,.1f} TFLOP/s in {number_format}"
        )
    planned = tuple(
        StagePlan(
            stage.name,
            stage.tokens,
            stage.batch,
            stage.length,
            operations,
            training_memory(
                stage.backbone, sizes, stage.batch, stage.length, stage.with_head, stage.checkpointing
            ),
            time,
            None if estimate is None else estimate.speed.memory,
            None if estimate is None else estimate.batch,
        )
        for stage, operations, time, estimate in zip(stages, flops, seconds, measured, strict=True)
    )
    weights = max(cost.parameters(stage.backbone, sizes, stage.with_head) for stage in stages)
    total = sum(seconds)
    return RunPlan(weights, planned, total, total * devices / 3600, basis)


def _training_flops(stage: TrainingStage, sizes: EncoderConfig) -> float:
    """Operations of an update for one sequence: a backward pass takes twice a forward pass."""
    head = 2 * sizes.width * (sizes.vocab_size + sizes.width) * MASKED_SHARE * stage.length
    layers = cost.flops(stage.backbone, sizes, stage.length)
    return (4 if stage.checkpointing else 3) * layers + 3 * stage.with_head * head
