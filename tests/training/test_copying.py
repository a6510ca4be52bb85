"""Copies of a teacher's layers: what they approach, in which formats, and when none of them learns."""

import math
from collections.abc import Iterator
from itertools import islice
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autobert_zero.data.masking import MaskedBatch, Vocabulary, mask_batch
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.encoder import run_layers
from autobert_zero.nn.teacher_bank import TeacherBank
from autobert_zero.shared_config import DistilConfig
from autobert_zero.space import Backbone, Convolution, Layer
from autobert_zero.training import copying
from autobert_zero.training.copying import copy_layers
from autobert_zero.training.distillation_losses import state_error
from autobert_zero.training.loop import Recipe
from autobert_zero.training.precision import Precision
from autobert_zero.training.readings import MAX_STEPS_AHEAD, Diverged
from autobert_zero.training.teacher import Teacher

SIZES = EncoderConfig(vocab_size=24, width=8, heads=2, max_positions=8)
ATTENTIONS = Backbone.from_list(["softmax(scale(Q @ K.T)) @ V"] * 3)
CPU = torch.device("cpu")


def batches() -> Iterator[MaskedBatch]:
    random = np.random.default_rng(0)
    while True:
        rows = random.integers(5, 24, (4, 8)).astype(np.uint16)
        yield mask_batch(random, rows, Vocabulary(24, 4, 3, (0, 2, 3)))


def teacher(device: Any = CPU) -> tuple[Teacher, TeacherBank]:
    """One whose layers change their states much."""
    torch.manual_seed(0)
    model = MaskedLM(ATTENTIONS, SIZES)
    with torch.no_grad():
        for layer in model.encoder.layers.parameters():
            if layer.ndim == 2:
                layer.mul_(20)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    bank = TeacherBank(SIZES, ATTENTIONS, weights, device)
    model.eval().requires_grad_(False)
    return Teacher("teacher", model.to(device), "digest", 1, DistilConfig(teacher="teacher")), bank


def convolution(random: Random) -> Layer:
    return Convolution(3)


def copied(steps: int, precision: Precision = "fp32") -> tuple[TeacherBank, list[float]]:
    learned_from, bank = teacher()
    losses: list[float] = []
    recipe = Recipe(steps, 4, 3e-2, precision=precision)
    seen: Any = lambda done, total, loss: losses.append(loss)  # noqa: E731
    copy_layers(bank, learned_from, batches(), recipe, convolution, 0, CPU, seen)
    return bank, losses


def distances(bank: TeacherBank) -> list[list[float]]:
    """Squared distances of each copy's output from the input and the outputs of the teacher's layers."""
    model = teacher()[0].model
    students = MaskedLM(Backbone((Convolution(3),) * 3), SIZES)
    bank.inherit(students)
    batch = next(islice(batches(), 200, None))
    with torch.no_grad():
        states = [model.encoder.embeddings(batch.ids)]
        run_layers(model.encoder.layers, states[0], states=states)
        outputs = [layer(states[place], None) for place, layer in enumerate(students.encoder.layers)]
    return [[float((output - state).square().mean()) for state in states] for output in outputs]


def test_the_copy_of_a_layer_approaches_its_output_and_no_other() -> None:
    begun, ended = distances(teacher()[1]), distances(copied(40)[0])
    for place, (before, after) in enumerate(zip(begun, ended, strict=True)):
        assert after[place + 1] < 0.7 * before[place + 1], (before, after)
        assert min(after) == after[place + 1]


def test_fp16_learns_from_losses_whose_gradients_it_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam does not see how large a loss is; without a scale all gradients of so small a one are 0."""
    monkeypatch.setattr(copying, "state_error", lambda *given: state_error(*given) * 1e-6)
    (half, losses), (single, expected) = copied(12, "fp16"), copied(12)
    assert losses == pytest.approx(expected, rel=0.05)
    assert losses[-1] < 0.9 * losses[0]
    assert distances(half)[0][1] == pytest.approx(distances(single)[0][1], rel=0.1)


def broken(monkeypatch: pytest.MonkeyPatch, broken_of_three: int) -> None:
    """Makes the losses of the first positions of every step NaN."""
    calls = iter(range(10**6))

    def error(ours: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
        factor = math.nan if next(calls) % 3 < broken_of_three else 1.0
        return state_error(ours * factor, theirs, mask)

    monkeypatch.setattr(copying, "state_error", error)


def test_a_layer_whose_loss_is_no_number_leaves_the_others_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = copied(6)[0]
    broken(monkeypatch, 1)
    bank, losses = copied(6)
    start = teacher()[1]
    for name in bank.new:
        expected = start if ".layers.0." in name else whole
        assert torch.equal(bank.tensors[name], expected.tensors[name]), name
    assert all(map(math.isfinite, losses))


@pytest.mark.parametrize("steps", [3, MAX_STEPS_AHEAD + 5])
def test_losses_that_are_no_numbers_in_all_layers_are_divergence(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, 3)
    with pytest.raises(Diverged, match=f"no loss of a layer is finite at step {min(steps, MAX_STEPS_AHEAD)}"):
        copied(steps)


def test_a_device_that_runs_ahead_is_read_late(fake_accelerator: ModuleType) -> None:
    _, expected = copied(MAX_STEPS_AHEAD + 2)
    losses: list[float] = []
    with fake_accelerator.fake_device() as counts, torch.autograd.set_multithreading_enabled(False):
        learned_from, bank = teacher(fake_accelerator.DEVICE)
        recipe = Recipe(MAX_STEPS_AHEAD + 2, 4, 3e-2, precision="fp32")
        seen: Any = lambda done, total, loss: losses.append(loss)  # noqa: E731
        counts.clear()
        copy_layers(bank, learned_from, batches(), recipe, convolution, 0, fake_accelerator.DEVICE, seen)
        assert counts.waits.total() <= len(bank.new) + 2  # the masks are copied there, once
    assert losses == pytest.approx(expected, rel=1e-5)
