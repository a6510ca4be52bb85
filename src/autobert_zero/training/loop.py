"""The one training loop: the search's proxy, comparisons, pre-training and fine-tuning run it."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from autobert_zero.shared_config import Compile
from autobert_zero.training.capture import CapturedStep, graphs_for, rate_on_device
from autobert_zero.training.precision import SMALLEST_SCALE, Precision, gradient_scaler
from autobert_zero.training.readings import LATE, Readings
from autobert_zero.training.readings import Diverged as Diverged
from autobert_zero.training.transfer import ahead, pinned, runs_ahead

if TYPE_CHECKING:
    from accelerate import Accelerator


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
        compile: Whether steps are captured, where the device can; models are compiled by who makes them.
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
    compile: Compile = "off"

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
"""Called for every step, in order, with the number of steps done and the loss; up to `LATE` steps late where
the device runs ahead of its host."""

OnSettled = Callable[[int], None]
"""Called with the number of steps done while the model is as after them, and `OnStep` has seen all of them:
after every step, or at the latest after `LATE` where the device runs ahead."""


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

    On a device that runs ahead the host waits for it once in `LATE` steps only: batches are prepared and
    copied ahead, and a step that diverged keeps all later ones from changing anything until it is noticed.

    Args:
        model: On its device; with an accelerator, prepared by it.
        batches: On the CPU, one for each step; every process sees the same and takes its share.
        recipe: How.
        objective: What is minimised.
        on_step: Called for every step.
        optimizer: One that has a past, of `make_optimizer`; None starts a new one.
        scaler: One that has a past, of `gradient_scaler`; None starts a new one. In fp16 it skips the update
            of a step whose gradient overflows.
        steps: Which steps of the recipe; None means all.
        loss_limit: A loss above it after the first tenth of the recipe is divergence.
        seed: Makes the random numbers of a step (dropout) a function of it, the step and the process, so
            that training can be continued anywhere. None leaves PyTorch's generator alone.
        accelerator: Divides batches over processes; None: there is one process.
        on_settled: Called when the state may be looked at.
        due: Whether it has to be called after the given number of steps; it is after the last.

    Returns:
        Seconds spent.

    Raises:
        Diverged: The loss or the gradient is not finite, or the loss is above the limit.
        ValueError: A batch cannot be divided evenly.
    """
    optimizer = optimizer or make_optimizer(model, recipe)
    device = next(model.parameters()).device
    scaler = scaler or gradient_scaler(recipe.precision, device)
    steps = range(recipe.steps) if steps is None else steps
    # Only a fused optimiser can leave an update out without a word of the host (as GradScaler asks too).
    late = runs_ahead(device) and getattr(optimizer, "_step_supports_amp_scaling", False)
    readings = Readings(loss_limit, recipe.steps // 10 + 1, device)
    seen = on_step or (lambda done, loss: None)

    def compute(whole: B, parts: Sequence[B]) -> Tensor:
        """Computes the gradient, and changes the weights where the host does not decide whether to."""
        loss = _add_gradients(model, whole, parts, objective, scaler, accelerator)
        scaler.unscale_(optimizer)
        norm = _norm(model, recipe.clip, accelerator, late)
        row = readings.judge(loss, _judged(norm, scaler), decide=late)
        if late:
            scale = None if accelerator else (norm / recipe.clip).clamp(min=1)
            _update_unless(optimizer, readings.stopped, norm, scale, scaler)
            optimizer.zero_grad(set_to_none=True)
        return row

    alone = late and accelerator is None
    graphs = graphs_for(recipe.compile, device, recipe.precision, len(steps)) if alone else None
    make_step = compute if graphs is None else CapturedStep(compute, graphs, device, optimizer.zero_grad)
    model.train()
    start = time.perf_counter()
    with (
        closing(_prepared(islice(batches, len(steps)), recipe.parts, device, accelerator)) as prepared,
        _rate_of(optimizer) if graphs is None else rate_on_device(optimizer, device) as set_rate,
    ):
        try:
            for step, (whole, parts) in zip(steps, prepared, strict=True):
                set_rate(recipe.rate(step))
                if seed is not None:
                    rank = accelerator.process_index if accelerator else 0
                    torch.manual_seed(((seed << 32) + (step << 12) + rank) % (1 << 63))
                readings.begin(step)
                readings.add(step, make_step(whole, parts))
                if not late:
                    readings.read()
                    scaler.step(optimizer)
                    optimizer.zero_grad(set_to_none=True)
                scaler.update()
                done = step + 1
                if not late or len(readings) == LATE or done == steps.stop or due(done):
                    readings.report(seen)
                    on_settled(done)
        except Exception:
            readings.report(seen)  # the state is that after all of them
            raise
    return time.perf_counter() - start


def _rate_of(optimizer: torch.optim.Optimizer) -> AbstractContextManager[Callable[[float], None]]:
    """What sets the learning rate as a number."""

    def set_rate(rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate

    return nullcontext(set_rate)


def _prepared(
    batches: Iterator[B], parts: int, device: torch.device, accelerator: "Accelerator | None"
) -> Generator[tuple[B, list[B]]]:
    """Yields each batch with the parts of it that this process computes, one after the other.

    Raises:
        ValueError: A batch cannot be divided evenly.
    """
    processes = accelerator.num_processes if accelerator else 1
    first = (accelerator.process_index if accelerator else 0) * parts

    def prepare(batch: B) -> tuple[B, list[B]]:
        if processes * parts == 1:
            whole = pinned(batch) if runs_ahead(device) else batch
            return whole, [whole]
        share, rest = divmod(len(batch), processes * parts)
        if rest:
            raise ValueError(
                f"a batch of {len(batch)} cannot be divided evenly over {processes} processes with {parts} "
                "parts"
            )
        own = [batch.part(place * share, (place + 1) * share) for place in range(first, first + parts)]
        return batch, [pinned(each) for each in own] if runs_ahead(device) else own

    ready = map(prepare, batches)
    yield from ahead(ready) if runs_ahead(device) else ready


def _add_gradients(
    model: nn.Module,
    batch: B,
    parts: Sequence[B],
    objective: "Objective[B]",
    scaler: torch.amp.GradScaler,
    accelerator: "Accelerator | None",
) -> Tensor:
    """Backward passes over this process's parts of a batch; returns the loss of the whole batch."""
    processes = accelerator.num_processes if accelerator else 1
    losses = []
    for number, part in enumerate(parts, start=1):
        # Gradients are exchanged once a step, with the last part.
        quiet = accelerator.no_sync(model) if accelerator and number < len(parts) else nullcontext()
        with quiet:
            value = objective(model, part, batch)
            # Processes' gradients are averaged; the loss is the sum of their shares.
            scaler.scale(value * processes if processes > 1 else value).backward()
        losses.append(value.detach())
    loss = sum(losses[1:], start=losses[0])
    return accelerator.reduce(loss, "sum") if accelerator and processes > 1 else loss


def _judged(norm: Tensor, scaler: torch.amp.GradScaler) -> Tensor:
    """The norm, or 0 where one that is not finite is no divergence: in fp16 as long as the scale can fall."""
    if not scaler.is_enabled():
        return norm
    return torch.where(scaler.scale(torch.ones_like(norm)) > SMALLEST_SCALE, torch.zeros_like(norm), norm)


def _update_unless(
    optimizer: torch.optim.Optimizer,
    stopped: Tensor,
    norm: Tensor,
    scale: Tensor | None,
    scaler: torch.amp.GradScaler,
) -> None:
    """Updates the weights, unless the device finds that the training diverged, or the gradient overflowed.

    Args:
        optimizer: A fused one, which takes a scale and a flag from the device as GradScaler gives them.
        stopped: 1 where nothing is to change.
        norm: Of the gradient.
        scale: What the gradient is divided by; None: it is clipped already.
        scaler: Of fp16.
    """
    if scaler.is_enabled():
        stopped = torch.maximum(stopped, norm.isfinite().logical_not().float())
    optimizer.found_inf, optimizer.grad_scale = stopped, scale  # type: ignore[attr-defined]
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf, optimizer.grad_scale  # type: ignore[attr-defined]


def _norm(model: nn.Module, limit: float, accelerator: "Accelerator | None", late: bool) -> Tensor:
    """The norm of the gradient, which is scaled down to the limit, unless the update does that."""
    if late and accelerator is None:
        return get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    clip: Callable[..., Tensor] = accelerator.clip_grad_norm_ if accelerator else clip_grad_norm_
    norm = clip(model.parameters(), limit)
    whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # FSDP's are distributed
    return whole


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over the model's parameters, with BERT's exemption of vectors from weight decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
