"""Training and evaluation of a masked language model."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import MaskedLM
from autobert_zero.training.precision import Precision, autocast


class Diverged(RuntimeError):
    """The loss left the range in which training makes sense; the message says when and how."""


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that the model is too large; on a CPU, PyTorch says so in words only."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Number of updates.
        batch_size: B, sequences in a batch.
        learning_rate: Peak, after the warm-up.
        warmup: Share of the steps in which the rate rises.
        decay: Whether the rate falls linearly to 0 after the warm-up, or stays.
        weight_decay: AdamW's, on matrices only.
        clip: Largest norm of the gradient.
        precision: Number format of the forward pass.
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.1
    decay: bool = True
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError(f"steps and batch_size are at least 1, not {self.steps} and {self.batch_size}")
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


@dataclass(frozen=True)
class Evaluation:
    """Quality on held-out text.

    Attributes:
        loss: Mean cross-entropy of the masked tokens, in nats.
        accuracy: Share of the masked tokens predicted first.
    """

    loss: float
    accuracy: float


def train(
    model: MaskedLM,
    batches: Iterator[MaskedBatch],
    recipe: Recipe,
    on_step: Callable[[int, float], None] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> float:
    """Trains a model in place.

    Args:
        model: On its device.
        batches: At least `recipe.steps` of them.
        recipe: How.
        on_step: Called after every step with the number of steps done and the loss.
        optimizer: One that has a past, of `make_optimizer`; None starts a new one.

    Returns:
        Seconds spent.

    Raises:
        Diverged: The loss is not finite, or after the first tenth far above that of a uniform guess.
    """
    device = next(model.parameters()).device
    limit = 2 * math.log(model.encoder.config.vocab_size)
    optimizer = optimizer or make_optimizer(model, recipe)
    model.train()
    start = time.perf_counter()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        batch = next(batches).to(device)
        loss = _loss(model, batch, recipe.precision)
        value = loss.item()
        if not math.isfinite(value):
            raise Diverged(f"loss is {value} at step {step + 1}")
        if value > limit and step > recipe.steps // 10:
            raise Diverged(f"loss {value:.1f} at step {step + 1} is more than twice a uniform guess's")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        if not torch.isfinite(norm):
            raise Diverged(f"gradient is {norm.item()} at step {step + 1}")
        optimizer.step()
        if on_step is not None:
            on_step(step + 1, value)
    return time.perf_counter() - start


@torch.no_grad()
def evaluate(model: MaskedLM, batches: Sequence[MaskedBatch], precision: Precision) -> Evaluation:
    """Measures a model on masked batches, each masked token counting alike."""
    device = next(model.parameters()).device
    model.eval()
    loss, hits, count = 0.0, 0, 0
    for batch in batches:
        batch = batch.to(device)
        with autocast(precision, device):
            logits = model(batch.ids, batch.positions)
        loss += F.cross_entropy(logits.float(), batch.labels, reduction="sum").item()
        hits += int((logits.argmax(-1) == batch.labels).sum())
        count += len(batch.labels)
    return Evaluation(loss / count, hits / count)


def _loss(model: MaskedLM, batch: MaskedBatch, precision: Precision) -> torch.Tensor:
    with autocast(precision, batch.ids.device):
        logits = model(batch.ids, batch.positions)
    return F.cross_entropy(logits.float(), batch.labels)


def make_optimizer(model: MaskedLM, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over the model's parameters, with BERT's exemption of vectors from weight decay."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
