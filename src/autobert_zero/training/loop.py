"""The one training loop, for the search's proxy, comparisons, pre-training and fine-tuning."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autobert_zero.shared_config import Compile
from autobert_zero.training.capture import CapturedStep, graphs_for
from autobert_zero.training.micro_batches import B, own_micro_batches
from autobert_zero.training.precision import Precision, gradient_scaler
from autobert_zero.training.readings import MAX_STEPS_AHEAD, Readings
from autobert_zero.training.readings import Diverged as Diverged
from autobert_zero.training.transfer import runs_ahead
from autobert_zero.training.update import (
    clipped_norm,
    judged_norm,
    rate_on_device,
    rate_on_host,
    update_unless,
)

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Number of updates.
        batch_size: B, sequences in a batch, over all processes and micro-batches.
        learning_rate: Peak learning rate, after the warm-up.
        warmup: Share of the steps in which the rate rises.
        decay: Whether the rate falls linearly to 0 after the warm-up; else it stays.
        weight_decay: AdamW's, on matrices only.
        clip: Maximum norm of the gradient.
        precision: Number format of the forward pass.
        accumulation: Number of micro-batches that a process computes one after the other before each update:
            less memory, the same update.
        compile: Whether steps are captured, where the device can; compiling the model is up to the caller.
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.1
    decay: bool = True
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: Precision = "auto"
    accumulation: int = 1
    compile: Compile = "off"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.accumulation < 1:
            raise ValueError(
                "steps, batch_size and accumulation must be at least 1, not "
                f"{self.steps}, {self.batch_size} and {self.accumulation}"
            )
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must be between 0 and 1, not {self.learning_rate}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share of the steps in [0, 1), not {self.warmup}")

    def rate(self, step: int) -> float:
        """The learning rate at a step, counted from 0."""
        rising = math.ceil(self.warmup * self.steps)
        if step < rising:
            return self.learning_rate * (step + 1) / (rising + 1)
        left = (self.steps - step) / (self.steps - rising) if self.decay else 1.0
        return self.learning_rate * left


Objective = Callable[[nn.Module, B, B], Tensor]
"""From a model, a micro-batch and its batch to the micro-batch's share of the loss. The loss is a mean over
the batch, however it is divided over processes and micro-batches."""

OnStep = Callable[[int, float], None]
"""Called for every step, in order, with the number of steps done and the loss; up to `MAX_STEPS_AHEAD` steps
late where the device runs ahead of the host."""

OnSettled = Callable[[int], None]
"""Called with the number of steps done when the model's state is that after them and `OnStep` has seen them
all: after every step, or at least every `MAX_STEPS_AHEAD` steps where the device runs ahead."""


def train(  # noqa: PLR0913 - the one loop that all trainings share
    model: nn.Module,
    batches: Iterator[B],
    recipe: Recipe,
    objective: "Objective[B]",
    on_step: OnStep | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    scaler: torch.amp.GradScaler | None = None,
    steps: range | None = None,
    loss_limit: float = math.inf,
    seed: int | None = None,
    accelerator: "Accelerator | None" = None,
    on_settled: OnSettled = lambda done: None,
    due: Callable[[int], bool] = lambda done: False,
) -> float:
    """Trains a model in place.

    On a device that runs ahead the host waits for it only once in `MAX_STEPS_AHEAD` steps: batches are
    prepared and copied ahead, and after a step that diverged no later one changes anything until the host
    notices.

    Args:
        model: The model on its device; with an accelerator, prepared by it.
        batches: One batch per step, on the CPU; every process sees the same and takes its share.
        recipe: How to train.
        objective: The loss to minimise.
        on_step: Called for every step.
        optimizer: A used optimiser of `make_optimizer` to continue with; None starts a new one.
        scaler: A used scaler of `gradient_scaler` to continue with; None starts a new one. In fp16 it skips
            the update of a step whose gradient overflows.
        steps: Steps of the recipe to run; None means all.
        loss_limit: A loss above it after the first tenth of the recipe counts as divergence.
        seed: Makes the random numbers of a step (dropout) a function of it, the step and the process, so
            that training can be continued anywhere. None leaves PyTorch's generator alone.
        accelerator: Divides batches over processes; None for a single process.
        on_settled: Called when the state may be read.
        due: Whether `on_settled` has to be called after the given number of steps, besides the last.

    Returns:
        Seconds of training.

    Raises:
        Diverged: The loss or the gradient is not finite, or the loss is above the limit.
        ValueError: A batch cannot be divided evenly.
    """
    optimizer = optimizer or make_optimizer(model, recipe)
    device = next(model.parameters()).device
    scaler = scaler or gradient_scaler(recipe.precision, device)
    steps = range(recipe.steps) if steps is None else steps
    # Only a fused optimiser can leave an update out without a word of the host (as GradScaler asks too).
    deferred = runs_ahead(device) and getattr(optimizer, "_step_supports_amp_scaling", False)
    readings = Readings(loss_limit, recipe.steps // 10 + 1, device)
    seen = on_step or (lambda done, loss: None)

    def compute(batch: B, micro_batches: Sequence[B]) -> Tensor:
        """Computes the gradient, and changes the weights where the host does not decide whether to."""
        loss = _add_gradients(model, batch, micro_batches, objective, scaler, accelerator)
        scaler.unscale_(optimizer)
        norm = clipped_norm(model, recipe.clip, accelerator, deferred)
        row = readings.judge(loss, judged_norm(norm, scaler), decide=deferred)
        if deferred:
            scale = None if accelerator else (norm / recipe.clip).clamp(min=1)
            update_unless(optimizer, readings.stopped, norm, scale, scaler)
            optimizer.zero_grad(set_to_none=True)
        return row

    alone = deferred and accelerator is None
    graphs = graphs_for(recipe.compile, device, recipe.precision, len(steps)) if alone else None
    make_step = compute if graphs is None else CapturedStep(compute, graphs, device, optimizer.zero_grad)
    model.train()
    start = time.perf_counter()
    with (
        closing(
            own_micro_batches(islice(batches, len(steps)), recipe.accumulation, device, accelerator)
        ) as prepared,
        rate_on_host(optimizer) if graphs is None else rate_on_device(optimizer, device) as set_rate,
    ):
        try:
            for step, (batch, micro_batches) in zip(steps, prepared, strict=True):
                set_rate(recipe.rate(step))
                if seed is not None:
                    rank = accelerator.process_index if accelerator else 0
                    torch.manual_seed(((seed << 32) + (step << 12) + rank) % (1 << 63))
                readings.begin(step)
                readings.add(step, make_step(batch, micro_batches))
                if not deferred:
                    readings.read()
                    scaler.step(optimizer)
                    optimizer.zero_grad(set_to_none=True)
                scaler.update()
                done = step + 1
                if not deferred or len(readings) == MAX_STEPS_AHEAD or done == steps.stop or due(done):
                    readings.report(seen)
                    on_settled(done)
        except Exception:
            readings.report(seen)  # the state is that after all of them
            raise
    return time.perf_counter() - start


def _add_gradients(
    model: nn.Module,
    batch: B,
    micro_batches: Sequence[B],
    objective: "Objective[B]",
    scaler: torch.amp.GradScaler,
    accelerator: "Accelerator | None",
) -> Tensor:
    """Backward passes over this process's micro-batches; returns the loss of the whole batch."""
    processes = accelerator.num_processes if accelerator else 1
    losses = []
    for number, micro_batch in enumerate(micro_batches, start=1):
        # Gradients are exchanged once a step, with the last one.
        quiet = accelerator.no_sync(model) if accelerator and number < len(micro_batches) else nullcontext()
        with quiet:
            value = objective(model, micro_batch, batch)
            # Processes' gradients are averaged; the loss is the sum of their shares.
            scaler.scale(value * processes if processes > 1 else value).backward()
        losses.append(value.detach())
    loss = sum(losses[1:], start=losses[0])
    return accelerator.reduce(loss, "sum") if accelerator and processes > 1 else loss


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over the model's parameters, with BERT's exemption of vectors from weight decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
