"""Trains the branches that a teacher lacks to copy its layers, one by one, before any student is trained."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random

import torch
from torch import Tensor
from torch.func import functional_call

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.encoder import run_layers
from autobert_zero.nn.layer import EncoderLayer
from autobert_zero.nn.teacher_bank import TeacherBank
from autobert_zero.space import Layer
from autobert_zero.training.distillation_losses import state_error
from autobert_zero.training.loop import Recipe
from autobert_zero.training.precision import autocast, gradient_scaler
from autobert_zero.training.readings import MAX_STEPS_AHEAD, Diverged
from autobert_zero.training.teacher import Teacher
from autobert_zero.training.texts import first_sequence, texts_of
from autobert_zero.training.transfer import runs_ahead, to_device

_DRAWS = 8
"""Maximum draws of a layer before a position is left out of a step."""

DrawLayer = Callable[[Random], Layer]


def copy_layers(
    bank: TeacherBank,
    teacher: Teacher,
    batches: Iterator[MaskedBatch],
    recipe: Recipe,
    draw: DrawLayer,
    seed: int,
    device: torch.device,
    on_step: Callable[[int, int, float], None],
) -> None:
    """Trains the new weights of a bank in place; the teacher's own keep every bit.

    In every step, a layer with new parts is drawn for each position. It gets the teacher's input at that
    position, and its new parts learn to compute the teacher's output: the loss is the mean over tokens of the
    squared error, relative to the square of the output. A loss or gradient that is not finite counts as 0,
    for its layer only; so the scale of fp16 losses never changes.

    Args:
        bank: The bank, with untrained new weights.
        teacher: The teacher.
        batches: One batch per step.
        recipe: Steps, learning rate and number format.
        draw: Draws a layer.
        seed: Seed of the draws.
        device: Device to train on.
        on_step: Called with the steps done, all steps, and the mean loss over the positions (NaN without
            any); up to `MAX_STEPS_AHEAD` steps late where the device runs ahead of the host.

    Raises:
        Diverged: In `MAX_STEPS_AHEAD` consecutive steps no position had a finite loss.
    """
    random = Random(f"{seed} copying")
    model = teacher.model.to(device)
    leaves = {name: bank.tensors[name].to(device, copy=True).requires_grad_() for name in bank.new}
    fixed = {name: tensor.to(device) for name, tensor in bank.tensors.items() if name not in leaves}
    masks = {name: mask.to(device) for name, mask in bank.new.items()}
    optimizer = torch.optim.AdamW(leaves.values(), lr=recipe.learning_rate, weight_decay=0.0)
    scale = gradient_scaler(recipe.precision, device).get_scale()  # 1 in all formats but fp16
    unread: list[Tensor] = []  # losses of the last steps
    failures = 0
    for done in range(1, recipe.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(done - 1)
        batch = next(batches)
        groups = texts_of(batch, teacher.cls_id) or [first_sequence(batch)]
        tokens = sum(int(group.mask.sum()) for group in groups)
        texts = to_device([(group.ids, group.mask) for group in groups], device)
        losses = []
        with autocast(recipe.precision, device):
            states = [_teacher_states(model, ids, mask) for ids, mask in texts]
            for position in range(bank.layers):
                drawn = _draw_new(bank, position, draw, random)
                if drawn is not None:
                    weights = bank.layer_weights(*drawn, position, {**fixed, **leaves})
                    inputs = [(text_states[position], text_states[position + 1]) for text_states in states]
                    losses.append(
                        _copying_loss(drawn[0], weights, inputs, [mask for _, mask in texts]) / tokens
                    )
        row = torch.stack(losses) if losses else torch.empty(0, device=device)  # (positions,)
        if losses:
            (torch.where(row.isfinite(), row, 0.0).sum() * scale).backward()
        for name, leaf in leaves.items():
            if leaf.grad is not None:
                gradient = leaf.grad * masks[name] / scale
                leaf.grad = torch.where(gradient.isfinite().all(), gradient, 0.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        unread.append(row.detach())
        if runs_ahead(device) and len(unread) < MAX_STEPS_AHEAD and done < recipe.steps:
            continue
        for step, (mean, measured) in enumerate(_mean_losses(unread), start=done + 1 - len(unread)):
            failures = failures + 1 if measured and math.isnan(mean) else 0
            if failures == min(MAX_STEPS_AHEAD, recipe.steps):
                raise Diverged(f"no loss of a layer is finite at step {step}")
            on_step(step, recipe.steps, mean)
        unread.clear()
    for name, leaf in leaves.items():
        bank.tensors[name] = leaf.detach().to(bank.tensors[name].device)


def _mean_losses(rows: Sequence[Tensor]) -> list[tuple[float, bool]]:
    """The mean of the finite numbers of each row, NaN without any, and whether the row is not empty."""
    values, means = iter(torch.cat(list(rows)).tolist()), []  # the one wait for the device
    for row in rows:
        finite = [value for value in islice(values, len(row)) if math.isfinite(value)]
        means.append((math.fsum(finite) / len(finite) if finite else math.nan, len(row) > 0))
    return means


@torch.no_grad()
def _teacher_states(teacher: MaskedLM, ids: Tensor, mask: Tensor) -> list[Tensor]:
    """The input of the teacher's first layer and the output of every layer, (T, n, d) each."""
    states: list[Tensor] = []
    x = teacher.encoder.embeddings(ids)
    run_layers(teacher.encoder.layers, x, mask, states=states)
    return [x, *states]


def _draw_new(
    bank: TeacherBank, position: int, draw: DrawLayer, random: Random
) -> tuple[EncoderLayer, Layer] | None:
    """Draws a layer with new parts at a position, without weights; None where no draw has any."""
    for _ in range(_DRAWS):
        layer = draw(random)
        with torch.device("meta"):
            module = EncoderLayer(layer, bank.config, first=position == 0).eval()
        if any(mask.any() for mask in bank.layer_weights(module, layer, position, bank.new).values()):
            return module, layer
    return None


def _copying_loss(
    module: EncoderLayer,
    weights: dict[str, Tensor],
    states: list[tuple[Tensor, Tensor]],
    masks: list[Tensor],
) -> Tensor:
    """The relative squared error of a layer's outputs, summed over tokens."""
    total = torch.zeros((), device=masks[0].device)
    for (given, wanted), mask in zip(states, masks, strict=True):
        total = total + state_error(functional_call(module, weights, (given, mask)), wanted, mask)
    return total
