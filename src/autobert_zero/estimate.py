"""How long training takes here: a few steps are measured, the rest is counted."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autobert_zero.data.masking import MaskedBatch, Vocabulary, mask_batch
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, train
from autobert_zero.training.precision import Precision

MEASURED_STEPS = 3
"""Steps that are timed, after one that is not."""

_MEASURED_TOKENS = 2048


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


def training_seconds(
    parts: Sequence[Part], sizes: EncoderConfig, precision: Precision, device: torch.device
) -> list[float]:
    """Measures a few steps of each kind of part; random numbers drawn elsewhere stay as they are.

    Args:
        parts: Of a run.
        sizes: Of the models.
        precision: Number format.
        device: Where to measure.

    Returns:
        The seconds of training that each part takes.
    """
    speeds: dict[tuple[Backbone, int, int], float] = {}
    seconds = []
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        for part in parts:
            batch = max(min(part.batch, _MEASURED_TOKENS // part.length), 1)
            key = (part.backbone, batch, part.length)
            if key not in speeds:
                speeds[key] = _tokens_per_second(*key, sizes, precision, device)
            seconds.append(part.tokens / speeds[key])
    return seconds


def _tokens_per_second(
    backbone: Backbone,
    batch: int,
    length: int,
    sizes: EncoderConfig,
    precision: Precision,
    device: torch.device,
) -> float:
    model = MaskedLM(backbone, sizes).to(device)
    recipe = Recipe(MEASURED_STEPS + 1, batch, 1e-6, precision=precision)
    batches, objective = _random_batches(batch, length, sizes.vocab_size), language_objective(precision)
    train(model, batches, recipe, objective, steps=range(1))
    start = time.perf_counter()
    train(model, batches, recipe, objective, steps=range(1, recipe.steps))
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return MEASURED_STEPS * batch * length / (time.perf_counter() - start)


def _random_batches(batch: int, length: int, vocabulary: int) -> Iterator[MaskedBatch]:
    random = np.random.default_rng(0)
    while True:
        rows = random.integers(vocabulary, size=(batch, length)).astype(np.uint32)
        yield mask_batch(random, rows, Vocabulary(vocabulary, 0, -1, (-1,)))
