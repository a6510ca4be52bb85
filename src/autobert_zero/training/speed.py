"""How fast a model trains, measured on the machine at hand."""

import itertools
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import torch

from autobert_zero.data.masking import MaskedBatch, Vocabulary, mask_batch
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, train
from autobert_zero.training.precision import Precision


def training_speed(
    backbone: Backbone,
    sizes: EncoderConfig,
    batch: int,
    length: int,
    precision: Precision,
    device: torch.device,
    steps: int,
) -> float:
    """Trains a model with new weights on random tokens, and measures each step after the first.

    Random numbers drawn elsewhere stay as they are.

    Args:
        backbone: The token-mixing layers.
        sizes: Sizes and trunk.
        batch: Sequences in a batch.
        length: Tokens in a sequence.
        precision: Number format.
        device: Where.
        steps: How many steps to measure.

    Returns:
        Tokens per second in the median step.
    """
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        model = MaskedLM(backbone, sizes).to(device)
        recipe = Recipe(steps + 1, batch, 1e-6, precision=precision)
        batches, objective = _random_batches(batch, length, sizes.vocab_size), language_objective(precision)
        ends: list[float] = []

        def note(step: int, loss: float) -> None:
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            ends.append(time.perf_counter())

        train(model, batches, recipe, objective, note)
    return batch * length / median(end - start for start, end in itertools.pairwise(ends))


def _random_batches(batch: int, length: int, vocabulary: int) -> Iterator[MaskedBatch]:
    random = np.random.default_rng(0)
    while True:
        rows = random.integers(vocabulary, size=(batch, length)).astype(np.uint32)
        yield mask_batch(random, rows, Vocabulary(vocabulary, 0, -1, (-1,)))
