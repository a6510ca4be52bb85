"""What a run will take, before it is started: parameters, operations, tokens, memory and time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from autobert_zero import cost
from autobert_zero.config import SearchConfig
from autobert_zero.data.masking import MASKED_SHARE, MaskedBatch, Vocabulary, mask_batch
from autobert_zero.devices import describe_device
from autobert_zero.errors import UserError
from autobert_zero.measure import training_memory
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.space import Backbone
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, train
from autobert_zero.training.precision import Precision
from autobert_zero.zoo import OPPONENTS, bert

_MEASURED_TOKENS = 2048
_MEASURED_STEPS = 3


@dataclass(frozen=True)
class Hardware:
    """A processor.

    Attributes:
        name: What it is called.
        single: Operations a second of dense matrix products in single precision, from its data sheet.
        bf16: In bf16; None where it has none.
        utilisation: The share that training an encoder is assumed to reach.
    """

    name: str
    single: float
    bf16: float | None
    utilisation: float

    def peak(self, precision: Precision) -> tuple[str, float]:
        """The format that a run with this precision computes in here, and its peak."""
        if precision == "fp32" or self.bf16 is None:
            return "single precision", self.single
        return "bf16", self.bf16


HARDWARE = {
    each.name: each
    for each in (
        Hardware("t4", 8.1e12, None, 0.50),
        Hardware("v100", 15.7e12, None, 0.50),
        Hardware("rtx3090", 35.6e12, 71e12, 0.40),
        Hardware("rtx4090", 82.6e12, 165e12, 0.40),
        Hardware("a100", 19.5e12, 312e12, 0.40),
        Hardware("h100", 67e12, 989e12, 0.35),
    )
}
"""Peaks of data sheets, without sparsity; utilisations are assumptions, not measurements."""


@dataclass(frozen=True)
class Part:
    """A part of a run in which all batches are alike.

    Attributes:
        name: What is done.
        backbone: What is trained, or stands for it.
        length: Tokens in a sequence.
        batch: Sequences in a batch that is computed at once.
        sequences: Sequences in all.
    """

    name: str
    backbone: Backbone
    length: int
    batch: int
    sequences: int

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return self.sequences * self.length


def search_parts(config: SearchConfig) -> list[Part]:
    """The parts of a search. BERT's backbone stands for candidates: most cost less."""
    proxy, final, length = config.proxy, config.final, config.data.length
    stand_in = bert(config.model.layers)

    def part(name: str, steps: int, batch: int, tokens: int = length) -> Part:
        return Part(name, stand_in, tokens, batch, steps * batch)

    parts = []
    if proxy.warmup_steps:
        parts.append(part("warm-up of the shared weights", proxy.warmup_steps, proxy.batch_size))
    parts.append(part(f"{proxy.candidates} candidates", proxy.candidates * proxy.steps, proxy.batch_size))
    if proxy.score == "tasks":
        tasks = proxy.tasks
        # The candidate, and the parents that are scored again before it.
        scored = proxy.candidates * (1 + 2 * config.strategy.parents)
        parts.append(part("their tasks, at most", scored * len(tasks.names) * tasks.steps, tasks.batch_size))
    parts.append(
        part(f"{final.finalists} finalists", final.finalists * final.screening_steps, final.batch_size)
    )
    models = 1 + len(OPPONENTS)
    parts.append(part(f"{models} models compared", models * final.steps, final.batch_size))
    return parts


def pretrain_parts(config: PretrainConfig, devices: int = 1) -> list[Part]:
    """The phases of a pre-training, in the parts of a batch that one of several devices holds at once."""
    return [
        Part(
            f"phase {number}",
            config.layers(),
            phase.length,
            max(phase.batch_size // (config.recipe.accumulation * devices), 1),
            phase.steps * phase.batch_size,
        )
        for number, phase in enumerate(config.phases, start=1)
    ]


def plan(
    parts: list[Part],
    sizes: EncoderConfig,
    hardware: str | None,
    devices: int,
    precision: Precision,
    device: torch.device,
) -> str:
    """Writes what a run will take.

    Args:
        parts: Of the run.
        sizes: Of the models.
        hardware: A name of `HARDWARE`; None measures a few steps here.
        devices: How many of them, assumed to share the work without loss.
        precision: Number format of the measured steps.
        device: Where to measure.

    Raises:
        UserError: There is no such hardware.
    """
    if hardware is not None and hardware not in HARDWARE:
        raise UserError(f"unknown hardware {hardware!r}; there are {', '.join(HARDWARE)}")
    weights = max(cost.parameters(part.backbone, sizes) for part in parts)
    lines = [f"{weights:,} parameters"]
    total = 0.0
    for part in parts:
        operations = part.sequences * _training_flops(part, sizes)
        if hardware is None:
            seconds = part.tokens / _tokens_per_second(part, sizes, precision, device) / devices
        else:
            chosen = HARDWARE[hardware]
            seconds = operations / (chosen.peak(precision)[1] * chosen.utilisation * devices)
        total += seconds
        memory = training_memory(part.backbone, sizes, part.batch, part.length)
        lines.append(
            f"{part.name}: {part.tokens:,} tokens in batches of {part.batch} x {part.length}, "
            f"{operations:.2e} FLOPs, about {memory / 1e9:.2f} GB of memory, {duration(seconds)}"
        )
    lines.append(f"in all about {duration(total)} of training, {total * devices / 3600:,.1f} device-hours")
    if hardware is None:
        lines.append(f"(from {_MEASURED_STEPS} steps measured on {describe_device(device)})")
    else:
        chosen = HARDWARE[hardware]
        number_format, peak = chosen.peak(precision)
        lines.append(
            f"(assuming {devices} x {hardware}: {chosen.utilisation:.0%} of a peak of "
            f"{peak / 1e12:,.1f} TFLOP/s in {number_format})"
        )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _training_flops(part: Part, sizes: EncoderConfig) -> float:
    """Operations of an update for one sequence: a backward pass takes twice a forward pass."""
    head = 2 * sizes.width * (sizes.vocab_size + sizes.width) * MASKED_SHARE * part.length
    return 3 * (cost.flops(part.backbone, sizes, part.length) + head)


def _tokens_per_second(part: Part, sizes: EncoderConfig, precision: Precision, device: torch.device) -> float:
    """The speed of training, of a few steps with at most some thousand tokens each."""
    batch = max(min(part.batch, _MEASURED_TOKENS // part.length), 1)
    model = MaskedLM(part.backbone, sizes).to(device)
    recipe = Recipe(_MEASURED_STEPS + 1, batch, 1e-6, precision=precision)
    batches, objective = _random_batches(batch, part.length, sizes.vocab_size), language_objective(precision)
    train(model, batches, recipe, objective, steps=range(1))
    start = time.perf_counter()
    train(model, batches, recipe, objective, steps=range(1, recipe.steps))
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return _MEASURED_STEPS * batch * part.length / (time.perf_counter() - start)


def _random_batches(batch: int, length: int, vocabulary: int) -> Iterator[MaskedBatch]:
    random = np.random.default_rng(0)
    while True:
        rows = random.integers(vocabulary, size=(batch, length)).astype(np.uint32)
        yield mask_batch(random, rows, Vocabulary(vocabulary, 0, -1, (-1,)))
