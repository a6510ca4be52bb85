"""On a device that runs ahead a training is the same as on a CPU, and its host hardly ever waits."""

import math
import threading
from collections.abc import Iterator
from itertools import count, islice
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from autobert_zero.data.masking import MaskedBatch, Vocabulary, mask_batch
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.language import evaluate, language_objective
from autobert_zero.training.loop import Diverged, Recipe, make_optimizer, train
from autobert_zero.training.readings import MAX_STEPS_AHEAD
from autobert_zero.training.transfer import pin, prefetch, to_device

SIZES = EncoderConfig(vocab_size=24, width=8, heads=2, max_positions=8)
BACKBONE = Backbone.parse("conv 3")


def batches(bad_from: int | None = None) -> Iterator[MaskedBatch]:
    """Random ones; from a step on their loss is more than a model ever had."""
    random = np.random.default_rng(0)
    for step in count():
        rows = random.integers(5, 24, (4, 8)).astype(np.uint16)
        batch = mask_batch(random, rows, Vocabulary(24, 4, 3, (0, 2, 3)))
        yield (
            batch
            if bad_from is None or step < bad_from
            else MaskedBatch(batch.ids, batch.rows, batch.labels * 0)
        )


def objective(model: Any, micro_batch: MaskedBatch, batch: MaskedBatch) -> torch.Tensor:
    """The loss of masked tokens, by one algorithm wherever it is computed."""
    there = to_device(micro_batch, next(model.parameters()).device)
    logits = model(there.ids, there.rows)
    return F.cross_entropy(logits, there.labels, reduction="sum") / len(batch.labels)


def trained(device: Any, steps: int, hook: Any = None, **options: Any) -> tuple[MaskedLM, Any, list[float]]:
    """A model after some steps, its optimiser, and what `on_step` was told."""
    torch.manual_seed(0)
    model = MaskedLM(BACKBONE, SIZES).to(device)
    recipe = Recipe(100, 4, 1e-2, precision="fp32", accumulation=options.pop("accumulation", 1))
    optimizer = make_optimizer(model, recipe)
    losses: list[float] = []
    with torch.autograd.set_multithreading_enabled(False):
        try:
            train(
                *(model, options.pop("batches", batches()), recipe, hook or objective),
                *(lambda done, loss: losses.append(loss), optimizer),
                steps=range(steps),
                seed=0,
                **options,
            )
        except Diverged as error:
            losses.append(math.nan)
            optimizer.error = str(error)  # type: ignore[attr-defined]
    return model, optimizer, losses


def state(model: MaskedLM, optimizer: Any) -> list[torch.Tensor]:
    """All weights and moments, and the numbers of updates."""
    own = [each for p in model.parameters() for each in (p.detach(), *optimizer.state[p].values())]
    return [each.to("cpu") for each in own]


def test_it_learns_what_a_cpu_learns(fake_accelerator: ModuleType) -> None:
    """Its batches are divided into micro-batches."""
    *there, losses = trained("cpu", MAX_STEPS_AHEAD + 1, accumulation=2)
    with fake_accelerator.fake_device() as counts:
        counts.clear()
        *here, same = trained(fake_accelerator.DEVICE, MAX_STEPS_AHEAD + 1, accumulation=2)
        copies_to_the_device = len(list(here[0].parameters()))
        assert counts.waits.total() <= copies_to_the_device + 2
        assert same == pytest.approx(losses, rel=1e-6)
        # The clipped gradient is divided in the update: rounded once less.
        for own, other in zip(state(*there), state(*here), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("what", "step"),
    [
        ("gradient", 0),
        ("loss", 3),
        ("gradient", MAX_STEPS_AHEAD - 1),
        ("loss", MAX_STEPS_AHEAD),
        ("limit", 11),
    ],
)
def test_what_diverges_is_left_as_it_was_before(fake_accelerator: ModuleType, what: str, step: int) -> None:
    """And is reported as on a CPU, though the host learns of it some steps later."""

    def bad(model: Any, micro_batch: MaskedBatch, batch: MaskedBatch) -> torch.Tensor:
        loss = objective(model, micro_batch, batch)
        if not bool((batch.labels == 0).all()):
            return loss
        if what == "gradient":
            loss.register_hook(lambda gradient: gradient * math.inf)
            return loss
        return loss * (math.nan if what == "loss" else 100.0)

    options = {"hook": bad, "loss_limit": 2 * math.log(24)}
    *there, losses = trained("cpu", 30, batches=batches(step), **options)
    assert len(losses) == step + 1
    with fake_accelerator.fake_device():
        *here, same = trained(fake_accelerator.DEVICE, 30, batches=batches(step), **options)
        assert same[:-1] == pytest.approx(losses[:-1], rel=1e-6)
        assert here[1].error.split()[:2] == there[1].error.split()[:2]
        assert f"at step {step + 1}" in here[1].error
        for own, other in zip(state(*there), state(*here), strict=True) if step else ():
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_the_state_is_shown_when_it_is_that_of_the_step(fake_accelerator: ModuleType) -> None:
    settled: list[int] = []
    seen: list[int] = []

    def on_settled(done: int) -> None:
        settled.append(done)
        seen.append(len(losses))

    with fake_accelerator.fake_device():
        torch.manual_seed(0)
        model = MaskedLM(BACKBONE, SIZES).to(fake_accelerator.DEVICE)
        losses: list[float] = []
        with torch.autograd.set_multithreading_enabled(False):
            train(
                *(model, batches(), Recipe(40, 4, precision="fp32"), language_objective("fp32")),
                lambda done, loss: losses.append(loss),
                steps=range(5, 27),
                on_settled=on_settled,
                due=lambda done: done == 8,
            )
    assert settled == [8, 18, 27]
    assert seen == [3, 13, 22]


def test_an_error_of_the_text_comes_after_the_steps_before_it(fake_accelerator: ModuleType) -> None:
    def broken() -> Iterator[MaskedBatch]:
        yield from islice(batches(), 3)
        raise OSError("the text is gone")

    with fake_accelerator.fake_device():
        model = MaskedLM(BACKBONE, SIZES).to(fake_accelerator.DEVICE)
        done: list[int] = []
        with torch.autograd.set_multithreading_enabled(False), pytest.raises(OSError, match="is gone"):
            train(
                *(model, broken(), Recipe(40, 4, precision="fp32"), language_objective("fp32")),
                lambda step, loss: done.append(step),
            )
    assert done == [1, 2, 3]
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_an_evaluation_waits_twice(fake_accelerator: ModuleType) -> None:
    torch.manual_seed(0)
    model, held_out = MaskedLM(BACKBONE, SIZES), list(islice(batches(), 5))
    expected = evaluate(model, held_out, "fp32")
    with fake_accelerator.fake_device() as counts:
        model.to(fake_accelerator.DEVICE)
        counts.clear()
        assert evaluate(model, held_out, "fp32") == expected
        assert counts.waits.total() == 2


def test_a_thread_is_one_ahead_and_ends() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(5):
            taken.append(number)
            yield number

    source = numbers()
    values = prefetch(source)
    assert next(values) == 0
    assert next(values) == 1
    values.close()  # type: ignore[attr-defined]
    assert taken == [0, 1, 2]  # whatever the timing
    assert list(source) == [3, 4]
    assert list(prefetch(iter("abc"))) == ["a", "b", "c"]


def test_what_holds_tensors_is_copied_whole(fake_accelerator: ModuleType) -> None:
    batch = next(batches())
    with fake_accelerator.fake_device() as counts:
        ready = pin({"a": [batch, 3], "b": (batch.ids, None)})
        counts.clear()
        there = to_device(ready, fake_accelerator.DEVICE)
        assert counts.launches["_to_copy"] == 1  # all of them lie side by side
        assert counts.waits.total() == 0
        assert there["a"][1] == 3
        assert there["b"][1] is None
        assert isinstance(there["a"][0], MaskedBatch)
        assert torch.equal(there["a"][0].labels.to("cpu"), batch.labels)
        assert not there["a"][0].rows.is_cpu
