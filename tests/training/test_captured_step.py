"""A captured training is the same as one that is not; on a CPU a tape stands for CUDA's graphs."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from tape import TapeGraphs
from torch.nn import functional as F

from autobert_zero.data.masking import MaskedBatch, Masking, Vocabulary, mask_batch
from autobert_zero.nn import EncoderConfig, MaskedLM, PreTraining
from autobert_zero.shared_config import Compile
from autobert_zero.space import Backbone
from autobert_zero.training import loop
from autobert_zero.training.capture import CapturedStep, capture_refusal, captures, compiles, graphs_for
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Diverged, Recipe, make_optimizer, train

SIZES = EncoderConfig(vocab_size=24, width=8, heads=2, max_positions=16, dropout=0.1)
BACKBONE = Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V")
VOCABULARY = Vocabulary(24, 4, 3, (0, 2, 3))
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class OnDevice(Recipe):
    """A recipe whose rates are those that a device's tensor holds."""

    def rate(self, step: int) -> float:
        return float(np.float32(super().rate(step)))


def batches(masking: Masking | None = None, lengths: Callable[[int], int] = lambda step: 8) -> Iterator[Any]:
    random = np.random.default_rng(0)
    for step in count():
        rows = random.integers(5, 24, (4, lengths(step))).astype(np.uint16)
        yield mask_batch(random, rows, VOCABULARY, masking)


def trained(
    steps: int, *, device: torch.device = CPU, kind: type[MaskedLM] = MaskedLM, **options: Any
) -> tuple[list[torch.Tensor], list[float], str]:
    """All weights and state of the optimiser, the losses, and how it diverged."""
    torch.manual_seed(0)
    model = kind(BACKBONE, SIZES).to(device)
    recipe = OnDevice(
        40, 4, 1e-2, precision="fp32", accumulation=options.pop("accumulation", 1), compile="capture"
    )
    optimizer = make_optimizer(model, recipe)
    losses: list[float] = []
    source, objective = (
        options.pop("batches", batches()),
        options.pop("objective", language_objective("fp32")),
    )
    error = ""
    try:
        train(
            *(model, source, recipe, objective, lambda done, loss: losses.append(loss), optimizer),
            steps=range(steps),
            seed=7,
            **options,
        )
    except Diverged as diverged:
        error = str(diverged)
    assert {type(group["lr"]) for group in optimizer.param_groups} == {float}
    assert not any(group["capturable"] for group in optimizer.param_groups)
    assert all(p.grad is None for p in model.parameters())
    own = [each for p in model.parameters() for each in (p.detach(), *optimizer.state[p].values())]
    return [each.cpu() for each in own], losses, error


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Lets the CPU take the branches of a device that runs ahead."""
    monkeypatch.setattr(loop, "runs_ahead", lambda device: True)
    return monkeypatch


def captured(ahead: pytest.MonkeyPatch, graphs: TapeGraphs, steps: int, **options: Any) -> Any:
    with ahead.context() as patch:
        patch.setattr(loop, "graphs_for", lambda *arguments: graphs)
        return trained(steps, **options)


def same(first: Any, second: Any) -> bool:
    return first[1:] == second[1:] and all(map(torch.equal, first[0], second[0]))


@pytest.mark.parametrize(("kind", "accumulation"), [(MaskedLM, 2), (PreTraining, 1)])
def test_it_is_the_same_bit_by_bit(
    ahead: pytest.MonkeyPatch, kind: type[MaskedLM], accumulation: int
) -> None:
    """With dropout, warm-up and decay of the rate, clipping and accumulation."""
    masking, graphs = Masking(next_sentence=kind is PreTraining), TapeGraphs()
    options: dict[str, Any] = {"kind": kind, "accumulation": accumulation}
    expected = trained(14, batches=batches(masking), **options)
    assert len(set(expected[1])) == 14
    assert same(captured(ahead, graphs, 14, batches=batches(masking), **options), expected)
    assert (graphs.aside_count, len(graphs.recordings), graphs.replays) == (3, 1, 11)


def test_other_shapes_run_as_they_are_and_new_ones_are_recorded(ahead: pytest.MonkeyPatch) -> None:
    """One odd batch among others; then the sequences become longer for good."""

    def lengths(step: int) -> int:
        return 16 if step >= 12 or step in (6, 9) else 8

    graphs = TapeGraphs()
    expected = trained(20, batches=batches(lengths=lengths))
    assert same(captured(ahead, graphs, 20, batches=batches(lengths=lengths)), expected)
    assert (graphs.aside_count, len(graphs.recordings), graphs.replays) == (3 + 2 + 3, 2, 12)


def test_a_step_is_recorded_on_the_memory_that_it_has_run_on() -> None:
    """Other memory, for example views in one block, would be compiled again within the recording."""
    seen: list[int] = []

    def step(batch: torch.Tensor, micro_batches: Sequence[torch.Tensor]) -> torch.Tensor:
        assert micro_batches[0] is batch
        seen.append(batch.data_ptr())
        return batch.sum()

    graphs = TapeGraphs()
    run = CapturedStep(step, graphs, CPU, lambda: None)
    given = [torch.full((3,), float(number)) for number in range(6)]
    assert [float(run(each, [each])) for each in given] == [0, 3, 6, 9, 12, 15]
    assert (len(seen), len(set(seen)), graphs.replays) == (4, 1, 3)
    assert not {each.data_ptr() for each in given} & set(seen)


def test_shapes_that_always_change_are_never_recorded(ahead: pytest.MonkeyPatch) -> None:
    graphs, masking = TapeGraphs(), Masking(whole_words=True)
    source = [batches(masking, lambda step: 8 + step % 3) for _ in range(2)]
    expected = trained(9, batches=source[0])
    assert same(captured(ahead, graphs, 9, batches=source[1]), expected)
    assert (graphs.aside_count, len(graphs.recordings)) == (9, 0)


def test_what_cannot_be_recorded_runs_as_it_is_with_one_line(ahead: pytest.MonkeyPatch) -> None:
    graphs = TapeGraphs(broken=True)
    expected = trained(8)
    with pytest.warns(UserWarning, match="cannot be captured and runs as it is: operation not per") as told:
        assert same(captured(ahead, graphs, 8), expected)
    assert len(told) == 1
    assert graphs.aside_count == 8


@pytest.mark.parametrize("bad", ["loss", "limit"])
def test_what_diverges_is_left_as_it_was_before(ahead: pytest.MonkeyPatch, bad: str) -> None:
    """The limit holds after the first tenth of the recipe, also for a step recorded before."""

    def broken() -> Iterator[MaskedBatch]:
        for step, batch in enumerate(batches()):
            poisoned = step == 13 if bad == "loss" else step >= 4
            scale = (math.nan if bad == "loss" else 100.0) if poisoned else 1.0
            yield MaskedBatch(
                batch.ids,
                batch.rows,
                batch.labels,
                segments=torch.full_like(batch.ids, scale, dtype=torch.float32),
            )

    def objective(model: Any, micro_batch: MaskedBatch, batch: MaskedBatch) -> torch.Tensor:
        assert micro_batch.segments is not None
        return (
            F.cross_entropy(model(micro_batch.ids, micro_batch.rows), micro_batch.labels)
            * micro_batch.segments.mean()
        )

    options: dict[str, Any] = {"objective": objective, "loss_limit": 2 * math.log(24)}
    expected = trained(20, batches=broken(), **options)
    graphs = TapeGraphs()
    assert same(captured(ahead, graphs, 20, batches=broken(), **options), expected)
    assert ("loss is nan at step 14" if bad == "loss" else "at step 6 is more than twice") in expected[2]
    assert graphs.replays > 0


def test_who_is_captured() -> None:
    modes: tuple[Compile, ...] = ("off", "default", "reduce-overhead", "capture")
    assert [compiles(mode) for mode in modes] == [False, True, True, False]
    assert [captures(mode) for mode in modes] == [False, False, True, True]
    assert capture_refusal(CPU, "fp32") == "cpu has no CUDA graphs"
    assert capture_refusal(torch.device("mps"), "fp32") == "mps has no CUDA graphs"
    assert capture_refusal(CUDA, "fp32", processes=2) == "several processes exchange their gradients"
    assert capture_refusal(CUDA, "fp16") == "the loss of fp16 has a scale that changes"
    assert capture_refusal(CUDA, "fp32") is None
    assert graphs_for("off", CUDA, "fp32", 100) is None
    assert graphs_for("default", CUDA, "fp32", 100) is None
    assert graphs_for("capture", CUDA, "fp32", 15) is None
    assert graphs_for("capture", CPU, "fp32", 100) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_card_replays_what_it_computes(accumulation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda")
    replays: list[int] = []
    real = torch.cuda.CUDAGraph.replay

    def replay(graph: torch.cuda.CUDAGraph) -> None:
        replays.append(1)
        real(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", replay)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "graphs_for", lambda *arguments: None)
        expected = trained(20, device=device, accumulation=accumulation)
    assert not replays
    state, losses, error = trained(20, device=device, accumulation=accumulation)
    assert len(replays) == 17
    assert error == ""
    assert losses == pytest.approx(expected[1], rel=1e-4)
    for own, other in zip(state, expected[0], strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_card_goes_on_where_a_step_waits_for_it() -> None:
    plain = language_objective("fp32")

    def waiting(model: Any, micro_batch: MaskedBatch, batch: MaskedBatch) -> torch.Tensor:
        loss = plain(model, micro_batch, batch)
        return loss * (1.0 if loss.item() > 0 else 0.5)

    device = torch.device("cuda")
    with pytest.warns(UserWarning, match="cannot be captured"):
        _, losses, _ = trained(20, device=device, objective=waiting)
    assert losses == pytest.approx(trained(20, device=device)[1], rel=1e-4)
