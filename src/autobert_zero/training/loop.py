"""The one training loop: the search's proxy, comparisons, pre-training and fine-tuning run it."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from autobert_zero.training.precision import SMALLEST_SCALE, Precision, gradient_scaler

if TYPE_CHECKING:
    from accelerate import Accelerator


class Diverged(RuntimeError):
    """The loss left the range in which training makes sense; the message says when and how."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Number of updates.
        batch_size: B, sequences in a batch, over all processes and parts.
        learning_rate: Peak, after the warm-up.
        warmup: Share of the steps in which the rate rises.
        decay: Whether the rate falls linearly to 0 after the warm-up, or stays.
        weight_decay: AdamW's, on matrices only.
        clip: Largest norm of the gradient.
        precision: Number format of the forward pass.
        parts: Parts that a process's share of a batch is computed in, one after the other (accumulation):
            less memory, the same update.
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.1
    decay: bool = True
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: Precision = "auto"
    parts: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.parts < 1:
            raise ValueError(
                "steps, batch_size and parts are at least 1, not "
                f"{self.steps}, {self.batch_size} and {self.parts}"
            )
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate is between 0 and 1, not {self.learning_rate}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the steps in [0, 1), not {self.warmup}")

    def rate(self, step: int) -> float:
        """The learning rate at a step, counted from 0."""
        rising = math.ceil(self.warmup * self.steps)
        if step < rising:
            return self.learning_rate * (step + 1) / (rising + 1)
        left = (self.steps - step) / (self.steps - rising) if self.decay else 1.0
        return self.learning_rate * left


class Batch(Protocol):
    """What the loop needs of a batch."""

    def __len__(self) -> int:
        """B, the number of sequences."""
        ...

    def part(self, start: int, stop: int) -> Self:
        """Some of the sequences."""
        ...


B = TypeVar("B", bound=Batch)

Objective = Callable[[nn.Module, B, B], Tensor]
"""From a model, a part of a batch and the whole batch to what the part adds to the loss of the whole. The
loss is a mean over the whole batch, however it is divided over processes and parts."""

OnStep = Callable[[int, float], None]
"""Called after every step with the number of steps done and the loss."""


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
) -> float:
    """Trains a model in place.

    Args:
        model: On its device; with an accelerator, prepared by it.
        batches: On the CPU, one for each step; every process sees the same and takes its share.
        recipe: How.
        objective: What is minimised.
        on_step: Called after every step.
        optimizer: One that has a past, of `make_optimizer`; None starts a new one.
        scaler: One that has a past, of `gradient_scaler`; None starts a new one. In fp16 it skips the update
            of a step whose gradient overflows.
        steps: Which steps of the recipe; None means all.
        loss_limit: A loss above it after the first tenth of the recipe is divergence.
        seed: Makes the random numbers of a step (dropout) a function of it, the step and the process, so
            that training can be continued anywhere. None leaves PyTorch's generator alone.
        accelerator: Divides batches over processes; None: there is one process.

    Returns:
        Seconds spent.

    Raises:
        Diverged: The loss or the gradient is not finite, or the loss is above the limit.
        ValueError: A batch cannot be divided evenly.
    """
    optimizer = optimizer or make_optimizer(model, recipe)
    scaler = scaler or gradient_scaler(recipe.precision, next(model.parameters()).device)
    model.train()
    start = time.perf_counter()
    for step in range(recipe.steps) if steps is None else steps:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        if seed is not None:
            rank = accelerator.process_index if accelerator else 0
            torch.manual_seed(((seed << 32) + (step << 12) + rank) % (1 << 63))
        value = _add_gradients(model, next(batches), recipe.parts, objective, scaler, accelerator)
        if not math.isfinite(value):
            raise Diverged(f"loss is {value} at step {step + 1}")
        if value > loss_limit and step > recipe.steps // 10:
            raise Diverged(f"loss {value:.1f} at step {step + 1} is more than twice a uniform guess's")
        scaler.unscale_(optimizer)
        norm = _clip(model, recipe.clip, accelerator)
        if not math.isfinite(norm) and not (scaler.is_enabled() and scaler.get_scale() > SMALLEST_SCALE):
            raise Diverged(f"gradient is {norm} at step {step + 1}")
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if on_step is not None:
            on_step(step + 1, value)
    return time.perf_counter() - start


def _add_gradients(
    model: nn.Module,
    batch: B,
    parts: int,
    objective: "Objective[B]",
    scaler: torch.amp.GradScaler,
    accelerator: "Accelerator | None",
) -> float:
    """Backward passes over this process's share of a batch; returns the loss of the whole batch."""
    processes = accelerator.num_processes if accelerator else 1
    share, rest = divmod(len(batch), processes * parts)
    if rest and processes * parts > 1:
        raise ValueError(
            f"a batch of {len(batch)} cannot be divided evenly over {processes} processes with {parts} parts"
        )
    loss = torch.zeros(())
    for number in range(parts):
        place = (accelerator.process_index if accelerator else 0) * parts + number
        part = batch.part(place * share, (place + 1) * share) if processes * parts > 1 else batch
        # Gradients are exchanged once a step, with the last part.
        quiet = accelerator.no_sync(model) if accelerator and number < parts - 1 else nullcontext()
        with quiet:
            value = objective(model, part, batch)
            # Processes' gradients are averaged; the loss is the sum of their shares.
            scaler.scale(value * processes).backward()
        loss = loss.to(value.device) + value.detach()
    if accelerator and processes > 1:
        loss = accelerator.reduce(loss, "sum")
    return loss.item()


def _clip(model: nn.Module, most: float, accelerator: "Accelerator | None") -> float:
    if accelerator:
        norm = accelerator.clip_grad_norm_(model.parameters(), most)
    else:
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), most)
    return float(norm)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over the model's parameters, with BERT's exemption of vectors from weight decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
