"""The comparison at the end: every model on the same batches, in one process or in several."""

import dataclasses
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from easy import LENGTH, SIZE, VOCABULARY
from safetensors.torch import load_file

from autobert_zero.data.batches import evaluation_batches
from autobert_zero.data.masking import MaskedBatch
from autobert_zero.data.splits import Splits
from autobert_zero.errors import UserError
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.shared_config import Compile
from autobert_zero.space import Backbone
from autobert_zero.training import scratch
from autobert_zero.training.language import Evaluation, evaluate
from autobert_zero.training.loop import Recipe, train
from autobert_zero.training.pool import WorkerDied, WorkerPool
from autobert_zero.training.scratch import Job, JobResult, train_all, train_from_scratch

SIZES = EncoderConfig(vocab_size=SIZE, width=16, heads=2, max_positions=LENGTH)
LAYERS = {
    "convolution": "conv 3\nconv 5",
    "bert": "softmax(scale(Q @ K.T)) @ V\nsoftmax(scale(Q @ K.T)) @ V",
    "hybrid": "conv 3\nsoftmax(scale(Q @ K.T)) @ V",
}


def job(data: Splits, name: str = "convolution", rate: float = 0.01, weights: Path | None = None) -> Job:
    return Job(
        name=name,
        backbone=Backbone.parse(LAYERS[name]),
        model=SIZES,
        data=data,
        vocabulary=VOCABULARY,
        recipe=Recipe(20, batch_size=8, learning_rate=rate, precision="fp32"),
        seed=0,
        device="cpu",
        weights=weights,
    )


def timeless(result: JobResult) -> JobResult:
    return dataclasses.replace(result, seconds=0.0, tokens_per_second=0.0)


def test_results_are_those_of_the_saved_weights(text: Splits, tmp_path: Path) -> None:
    weights = tmp_path / "new" / "model.safetensors"
    result = train_from_scratch(job(text, weights=weights))
    model = MaskedLM(Backbone.parse(LAYERS["convolution"]), SIZES)
    model.load_state_dict(load_file(weights))
    for part, loss in ((text.validation, result.selection_loss), (text.holdout, result.val_loss)):
        measured = evaluate(model, evaluation_batches(part, VOCABULARY, 16, 4096), "fp32")
        assert measured.loss == pytest.approx(loss, rel=1e-6)
    assert result.mlm_accuracy == measured.accuracy
    assert result.status == "complete"
    assert result.tokens == 20 * 8 * LENGTH
    assert result.tokens_per_second == pytest.approx(result.tokens / result.seconds)


def test_a_function_of_the_seed(text: Splits) -> None:
    first, again = (timeless(train_from_scratch(job(text))) for _ in range(2))
    assert first == again
    other = train_from_scratch(dataclasses.replace(job(text), seed=1))
    assert other.val_loss != first.val_loss


def test_the_first_steps_are_on_short_sequences(text: Splits) -> None:
    shapes: list[tuple[int, ...]] = []

    def watched(model: MaskedLM, batches: Iterator[MaskedBatch], *rest: Any, **more: Any) -> float:
        def seen() -> Iterator[MaskedBatch]:
            for batch in batches:
                shapes.append(tuple(batch.ids.shape))
                yield batch

        return train(model, seen(), *rest, **more)

    with mock.patch.object(scratch, "train", watched):
        result = train_from_scratch(dataclasses.replace(job(text), short_share=0.3, short_length=4))
    assert shapes == [(8 * LENGTH // 4, 4)] * 6 + [(8, LENGTH)] * 14
    assert result.tokens == 20 * 8 * LENGTH


@pytest.mark.parametrize(("mode", "compiled"), [("off", 0), ("capture", 0), ("reduce-overhead", 1)])
def test_a_model_of_the_comparison_is_compiled_if_asked_for(
    text: Splits, monkeypatch: pytest.MonkeyPatch, mode: Compile, compiled: int
) -> None:
    """What cannot be captured here runs as it is."""
    calls: list[int] = []
    monkeypatch.setattr(MaskedLM, "compile", lambda self: calls.append(1))
    asked = job(text)
    recipe = dataclasses.replace(asked.recipe, steps=4)
    result = train_from_scratch(dataclasses.replace(asked, recipe=dataclasses.replace(recipe, compile=mode)))
    assert len(calls) == compiled
    assert timeless(result) == timeless(train_from_scratch(dataclasses.replace(asked, recipe=recipe)))


def test_progress_is_told(text: Splits) -> None:
    seen: list[tuple[str, int, int]] = []
    train_from_scratch(job(text), lambda *step: seen.append(step))
    assert seen == [("convolution", step, 20) for step in range(1, 21)]


def test_the_curve_is_of_mean_losses(text: Splits) -> None:
    short = train_from_scratch(job(text))
    assert [step for step, _ in short.curve] == list(range(1, 21))
    long = dataclasses.replace(job(text), recipe=Recipe(105, 8, 0.01, precision="fp32"))
    curve = train_from_scratch(long).curve
    assert [step for step, _ in curve] == [*range(2, 106, 2), 105]
    assert curve[-1][1] < curve[0][1]


def test_divergence_is_a_result(text: Splits, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    long = dataclasses.replace(job(text, rate=0.99, weights=weights), recipe=Recipe(60, 8, 0.99))
    result = train_from_scratch(long)
    assert result.status == "diverged"
    assert "more than twice a uniform guess's" in result.reason
    assert (result.val_loss, result.selection_loss, result.mlm_accuracy) == (None, None, None)
    assert not weights.exists()


def test_a_loss_on_held_out_text_that_is_no_number_is_divergence(
    text: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "evaluate", lambda *rest: Evaluation(float("nan"), 0.0))
    weights = tmp_path / "model.safetensors"
    result = train_from_scratch(job(text, weights=weights))
    assert (result.status, result.reason) == ("diverged", "loss on held-out text is nan")
    assert not weights.exists()


def test_one_worker_is_this_process(text: Splits) -> None:
    results: list[JobResult] = []
    names: list[str] = []
    jobs = [job(text, name) for name in LAYERS]
    train_all(jobs, 1, lambda name, done, of: names.append(name), results.append)
    assert [result.name for result in results] == list(LAYERS)
    assert [timeless(result) for result in results] == [timeless(train_from_scratch(each)) for each in jobs]
    assert set(names) == set(LAYERS)


@pytest.mark.slow
def test_two_workers_give_the_same_results(text: Splits, tmp_path: Path) -> None:
    jobs = [job(text, name, weights=tmp_path / f"{name}.safetensors") for name in LAYERS]
    results: list[JobResult] = []
    steps: dict[str, int] = {}
    threads = torch.get_num_threads()
    train_all(jobs, 2, lambda name, done, of: steps.update({name: done}), results.append)
    assert torch.get_num_threads() == threads
    expected = {each.name: train_from_scratch(dataclasses.replace(each, weights=None)) for each in jobs}
    assert {result.name for result in results} == set(LAYERS)
    for result in results:
        assert result.val_loss == pytest.approx(expected[result.name].val_loss, rel=1e-5)
        assert result.mlm_accuracy == pytest.approx(expected[result.name].mlm_accuracy)
        assert (tmp_path / f"{result.name}.safetensors").exists()
    assert set(steps) <= set(LAYERS)


@pytest.mark.slow
def test_stopping_the_parent_stops_the_workers(text: Splits) -> None:
    endless = [
        dataclasses.replace(job(text, name), recipe=Recipe(10**6, 8, 1e-4, precision="fp32"))
        for name in LAYERS
    ]

    def stop(name: str, done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all(endless, 2, stop, lambda result: None)


@pytest.mark.slow
def test_a_bug_in_a_worker_reaches_the_parent(text: Splits) -> None:
    broken = dataclasses.replace(job(text), vocabulary=dataclasses.replace(VOCABULARY, size=10**6))
    with pytest.raises(IndexError):
        train_all([broken, job(text, "bert")], 2, lambda *step: None, lambda result: None)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_job_trained_again(text: Splits) -> None:
    jobs = [job(text, name) for name in ("convolution", "hybrid")]
    killed: list[int | None] = []

    def kill(name: str, done: int, total: int) -> None:
        if not killed:
            victim = multiprocessing.active_children()[0]
            killed.append(victim.pid)
            os.kill(victim.pid or 0, signal.SIGKILL)

    results: list[JobResult] = []
    train_all(jobs, 2, kill, results.append)
    assert len(killed) == 1
    assert sorted(result.name for result in results) == ["convolution", "hybrid"]
    for result in results:
        alone = train_from_scratch(job(text, result.name))
        assert result.val_loss == pytest.approx(alone.val_loss, rel=1e-5)


def test_a_job_that_kills_its_worker_ends_with_a_line(text: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: WorkerPool, function: Any, calls: Any, on_progress: Any) -> Iterator[tuple[int, Any]]:
        yield 1, WorkerDied("its worker died 2 times")

    monkeypatch.setattr(WorkerPool, "run", run)
    with pytest.raises(UserError, match=r"^hybrid: its worker died 2 times; free some memory, then continue"):
        train_all([job(text), job(text, "hybrid")], 2, lambda *step: None, lambda result: None)


def test_the_device_is_made_ready_where_the_job_is_trained(
    text: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Find_device sets for its own process what a device needs; workers are processes of their own."""
    seen: list[str] = []

    def find(name: str) -> torch.device:
        seen.append(name)
        return torch.device(name)

    monkeypatch.setattr(scratch, "find_device", find)
    train_from_scratch(job(text))
    assert seen == ["cpu"]
