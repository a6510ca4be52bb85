"""The training speed of a model, measured on this machine."""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from autobert_zero.data.masking import MaskedBatch, Vocabulary, mask_batch
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.shared_config import Compile
from autobert_zero.space import Backbone
from autobert_zero.training.capture import FEWEST_STEPS, captures, compiles
from autobert_zero.training.compiling import compile_model
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, make_optimizer, train
from autobert_zero.training.precision import Precision, autocast, gradient_scaler
from autobert_zero.training.transfer import to_device

_WARM_UP_STEPS = 5
_LEAST_SECONDS = 0.5
"""Minimum time of the steps that are timed on an accelerator, after as many: an idle card computes at a
fraction of its clock."""
_GROWTH = 10
"""Greatest factor of the number of steps, since the time of few steps is uncertain."""


@dataclass(frozen=True)
class TrainingSpeed:
    """The training speed of a model.

    Attributes:
        tokens_per_second: Tokens trained on per second.
        steps: Number of steps that were timed.
        memory: Peak memory of the training in bytes; None where it is unknown, as on a CPU.
    """

    tokens_per_second: float
    steps: int
    memory: int | None = None


def training_speed(  # noqa: PLR0913 - all that a speed depends on
    backbone: Backbone,
    sizes: EncoderConfig,
    batch: int,
    length: int,
    precision: Precision,
    device: torch.device,
    steps: int,
    with_head: bool = True,
    checkpointing: bool = False,
    compile: Compile = "off",
) -> TrainingSpeed:
    """Times the training of a model with new weights on random tokens.

    On a CPU the median step after the first counts. On an accelerator, steps are not timed one by one: after
    a warm-up it computes as many as take a second or two. The global random state is not changed.

    Args:
        backbone: The token-mixing layers.
        sizes: Sizes and trunk.
        batch: Sequences in a batch.
        length: Tokens in a sequence.
        precision: Number format.
        device: Device to train on.
        steps: Minimum number of steps to measure; a CPU computes exactly as many.
        with_head: Whether to predict tokens; else only the encoder is trained.
        checkpointing: Whether the backward pass computes layers again.
        compile: What makes the steps faster, see `Recipe`.

    Raises:
        RuntimeError: The batch does not fit into the memory of the device.
    """
    cuda = [device] if device.type == "cuda" else []
    before = 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with torch.random.fork_rng(devices=cuda):
        model = MaskedLM(backbone, sizes).to(device)
        model.encoder.checkpointing = checkpointing
        if compiles(compile):
            compile_model(model)
        batches = random_batches(batch, length, sizes.vocab_size)
        objective = language_objective(precision) if with_head else partial(_states, precision=precision)
        if device.type == "cpu":
            ends: list[float] = []
            recipe = Recipe(steps + 1, batch, 1e-6, precision=precision)
            train(model, batches, recipe, objective, lambda step, loss: ends.append(time.perf_counter()))
            seconds = median(end - start for start, end in itertools.pairwise(ends))
            return TrainingSpeed(batch * length / seconds, steps)
        recipe = Recipe(1, batch, 1e-6, warmup=0, decay=False, precision=precision, compile=compile)
        optimizer, scaler = make_optimizer(model, recipe), gradient_scaler(precision, device)

        def run(count: int) -> None:
            train(model, batches, recipe, objective, None, optimizer, scaler=scaler, steps=range(count))
            torch.accelerator.synchronize(device)

        seconds, done = steady_seconds(run, max(steps, FEWEST_STEPS) if captures(compile) else steps)
    memory = torch.cuda.max_memory_allocated(device) - before if cuda else None
    return TrainingSpeed(batch * length / seconds, done, memory)


def steady_seconds(run: Callable[[int], None], steps: int) -> tuple[float, int]:
    """Times a step of an accelerator: the time of 2 N steps minus that of N steps, over N.

    So costs that each run has once, such as recording a CUDA graph, cancel out.

    Args:
        run: Runs the given number of steps and waits for the last.
        steps: Minimum number of steps.

    Returns:
        Seconds per step, and the number of steps that were timed.
    """

    def timed(count: int) -> float:
        start = time.perf_counter()
        run(count)
        return time.perf_counter() - start

    run(_WARM_UP_STEPS)
    while True:
        first = timed(steps)
        seconds = timed(2 * steps) - first
        if seconds >= _LEAST_SECONDS:
            return seconds / steps, steps
        steps = math.ceil(steps * min(1.2 * _LEAST_SECONDS / max(seconds, 1e-6), _GROWTH))


def _states(model: nn.Module, micro_batch: MaskedBatch, batch: MaskedBatch, precision: Precision) -> Tensor:
    """A loss of the encoder alone."""
    device = next(model.parameters()).device
    with autocast(precision, device):
        encoder = model.get_submodule("encoder")
        states: Tensor = encoder(to_device(micro_batch.ids, device))  # (B, n, d)
    return states.float().square().mean() * len(micro_batch) / len(batch)


def random_batches(batch: int, length: int, vocabulary: int) -> Iterator[MaskedBatch]:
    """Yields batches of random tokens, masked as in pre-training."""
    random = np.random.default_rng(0)
    while True:
        rows = random.integers(vocabulary, size=(batch, length)).astype(np.uint32)
        yield mask_batch(random, rows, Vocabulary(vocabulary, 0, -1, (-1,)))
