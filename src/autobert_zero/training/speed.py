"""How fast a model trains, measured on the machine at hand."""

import itertools
import time
from collections.abc import Iterator
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from autobert_zero.data.masking import MaskedBatch, Vocabulary, mask_batch
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, train
from autobert_zero.training.precision import Precision, autocast
from autobert_zero.training.transfer import moved


def training_speed(
    backbone: Backbone,
    sizes: EncoderConfig,
    batch: int,
    length: int,
    precision: Precision,
    device: torch.device,
    steps: int,
    with_head: bool = True,
    checkpointing: bool = False,
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
        with_head: Whether tokens are predicted; else the encoder alone is trained.
        checkpointing: Whether the backward pass computes layers again.

    Returns:
        Tokens per second in the median step.
    """
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        model = MaskedLM(backbone, sizes).to(device)
        model.encoder.checkpointing = checkpointing
        recipe = Recipe(steps + 1, batch, 1e-6, precision=precision)
        batches = _random_batches(batch, length, sizes.vocab_size)
        objective = language_objective(precision) if with_head else partial(_states, precision=precision)
        ends: list[float] = []

        def note(done: int) -> None:
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            ends.append(time.perf_counter())

        train(model, batches, recipe, objective, on_settled=note, due=lambda done: True)
    return batch * length / median(end - start for start, end in itertools.pairwise(ends))


def _states(model: nn.Module, part: MaskedBatch, whole: MaskedBatch, precision: Precision) -> Tensor:
    """A loss that takes the encoder alone."""
    device = next(model.parameters()).device
    with autocast(precision, device):
        encoder = model.get_submodule("encoder")
        states: Tensor = encoder(moved(part.ids, device))  # (B, n, d)
    return states.float().square().mean() * len(part) / len(whole)


def _random_batches(batch: int, length: int, vocabulary: int) -> Iterator[MaskedBatch]:
    random = np.random.default_rng(0)
    while True:
        rows = random.integers(vocabulary, size=(batch, length)).astype(np.uint32)
        yield mask_batch(random, rows, Vocabulary(vocabulary, 0, -1, (-1,)))
