"""What a run will take, before it is started: parameters, operations, tokens, memory and time."""

from dataclasses import dataclass

import torch

from autobert_zero import cost
from autobert_zero.data.masking import MASKED_SHARE
from autobert_zero.devices import describe_device
from autobert_zero.errors import UserError
from autobert_zero.estimate import StageEstimate, TrainingStage, estimate_stages
from autobert_zero.measure import training_memory
from autobert_zero.nn import EncoderConfig
from autobert_zero.progress import duration
from autobert_zero.training.precision import Precision


@dataclass(frozen=True)
class Hardware:
    """A processor.

    Attributes:
        name: What it is called.
        single: Operations a second of dense matrix products in single precision, from its data sheet.
        half: In fp16, and in bf16 where it has that.
        bf16: Whether it computes in bf16, and then in TF32 at half that peak.
        utilisation: The share that training an encoder is assumed to reach.
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
    each.name: each
    for each in (
        Hardware("t4", 8.1e12, 65e12, False, 0.30),
        Hardware("v100", 15.7e12, 125e12, False, 0.35),
        Hardware("rtx3090", 35.6e12, 71e12, True, 0.40),
        Hardware("rtx4090", 82.6e12, 165e12, True, 0.40),
        Hardware("a100", 19.5e12, 312e12, True, 0.40),
        Hardware("h100", 67e12, 989e12, True, 0.35),
    )
}
"""Peaks of data sheets, without sparsity; utilisations are assumptions, not measurements."""


def plan(
    parts: list[TrainingStage],
    sizes: EncoderConfig,
    hardware: str | None,
    devices: int,
    precision: Precision,
    device: torch.device,
) -> str:
    """Writes what a run will take.

    Args:
        parts: The parts of the run.
        sizes: Sizes of the models.
        hardware: A name of `HARDWARE`; None measures a few steps here.
        devices: Number of devices, assumed to share the work without loss.
        precision: Number format of the measured steps.
        device: Where to measure.

    Raises:
        UserError: There is no such hardware, or it does not compute in the format.
    """
    if hardware is not None and hardware not in HARDWARE:
        raise UserError(f"unknown hardware {hardware!r}; there are {', '.join(HARDWARE)}")
    weights = max(cost.parameters(part.backbone, sizes, part.with_head) for part in parts)
    lines = [f"{weights:,} parameters"]
    measured = estimate_stages(parts, sizes, precision, device) if hardware is None else []
    total = 0.0
    for number, part in enumerate(parts):
        operations = part.sequences * _training_flops(part, sizes)
        if hardware is None:
            seconds = measured[number].seconds / devices
        else:
            chosen = HARDWARE[hardware]
            seconds = operations / (chosen.peak(precision)[1] * chosen.utilisation * devices)
        total += seconds
        memory = training_memory(
            part.backbone, sizes, part.batch, part.length, part.with_head, part.checkpointing
        )
        lines.append(
            f"{part.name}: {part.tokens:,} tokens in batches of {part.batch} x {part.length}, "
            f"{operations:.2e} FLOPs, about {memory / 1e9:.2f} GB of memory"
            f"{_measured_memory(part, measured[number]) if measured else ''}, {duration(seconds)}"
        )
    lines.append(f"in all about {duration(total)} of training, {total * devices / 3600:,.1f} device-hours")
    if hardware is None:
        steps = min(stage.speed.steps for stage in measured)
        lines.append(f"(from {steps} steps measured on {describe_device(device)})")
    else:
        chosen = HARDWARE[hardware]
        number_format, peak = chosen.peak(precision)
        lines.append(
            f"(assuming {devices} x {hardware}: {chosen.utilisation:.0%} of a peak of "
            f"{peak / 1e12:,.1f} TFLOP/s in {number_format})"
        )
    return "\n".join(lines)


def _measured_memory(part: TrainingStage, measured: StageEstimate) -> str:
    """What the device had allocated at most, where it counts that."""
    if measured.speed.memory is None:
        return ""
    smaller = "" if measured.batch == part.batch else f" with {measured.batch} sequences, as many as fit"
    return f" ({measured.speed.memory / 1e9:.2f} GB measured{smaller})"


def _training_flops(part: TrainingStage, sizes: EncoderConfig) -> float:
    """Operations of an update for one sequence: a backward pass takes twice a forward pass."""
    head = 2 * sizes.width * (sizes.vocab_size + sizes.width) * MASKED_SHARE * part.length
    layers = cost.flops(part.backbone, sizes, part.length)
    return (4 if part.checkpointing else 3) * layers + 3 * part.with_head * head
