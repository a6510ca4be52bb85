"""Evaluation under weight sharing: what a candidate leaves in the bank, and what it does not."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file
from torch import Tensor

from autobert_zero.errors import UserError
from autobert_zero.measure import training_memory
from autobert_zero.nn import MaskedLM, WeightBank
from autobert_zero.nn.update_counts import BRANCHES
from autobert_zero.search.trial import GIVEN, KNOWN, Outcome, Proposal, Status
from autobert_zero.search_runs import proxy_evaluator, snapshots
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.snapshots import SnapshotWriter, restore_snapshot, save_snapshot
from autobert_zero.shared_config import Compile
from autobert_zero.space import KERNEL_SIZES, Backbone
from autobert_zero.training import goal, loop
from autobert_zero.training.capture import Graphs, graphs_for
from autobert_zero.training.language import Evaluation
from autobert_zero.training.loop import Diverged, Recipe, train

HYBRID = Backbone.parse("conv 5\nsoftmax(scale(Q @ K.T)) @ V").canonical()
OTHER = Backbone.parse("cosine(Q, K) @ P\nconv 31").canonical()


@pytest.fixture(scope="module")
def prepared(corpus_file: Path) -> PreparedSearch:
    return prepare(tiny.config(corpus_file))


@pytest.fixture
def evaluator(prepared: PreparedSearch) -> ProxyEvaluator:
    return prepared.evaluator()


def bank_of(evaluator: ProxyEvaluator) -> WeightBank:
    assert isinstance(evaluator.bank, WeightBank)
    return evaluator.bank


def copied(evaluator: ProxyEvaluator) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in evaluator.bank.state().items()}


def changed(evaluator: ProxyEvaluator, before: dict[str, Tensor]) -> set[str]:
    now = evaluator.bank.state()
    assert now.keys() == before.keys()
    return {name for name, old in before.items() if not same(now[name], old)}


def same(a: Tensor, b: Tensor) -> bool:
    """Bit by bit, so that a NaN equals itself."""
    return torch.equal(a.contiguous().flatten().view(torch.int32), b.contiguous().flatten().view(torch.int32))


def timeless(outcome: Outcome) -> tuple[Any, ...]:
    return outcome.status, outcome.score, outcome.reason, dict(outcome.metrics)


def absorbed(evaluator: ProxyEvaluator, proposal: Proposal, *rest: Any) -> Outcome:
    """Evaluates one candidate and gives its weights to the bank, as the search does."""
    outcome, trained = evaluator.evaluate(proposal, (), *rest)
    if trained is not None:
        evaluator.bank.absorb(trained)
    return outcome


def test_evaluating_leaves_the_bank_alone(evaluator: ProxyEvaluator) -> None:
    before = copied(evaluator)
    first, trained = evaluator.evaluate(Proposal(0, HYBRID))
    assert not changed(evaluator, before)
    again, same_again = evaluator.evaluate(Proposal(0, HYBRID))
    assert timeless(again) == timeless(first)
    assert trained is not None
    assert same_again is not None
    assert all(torch.equal(tensor, same_again.weights[name]) for name, tensor in trained.weights.items())


def with_proxy(prepared: PreparedSearch, **changes: Any) -> ProxyEvaluator:
    config = prepared.config.model_copy(update={"proxy": prepared.config.proxy.model_copy(update=changes)})
    return replace(prepared, config=config).evaluator()


def test_without_sharing_a_score_depends_on_nothing_trained_before(prepared: PreparedSearch) -> None:
    alone, later = (with_proxy(prepared, sharing="none", learning_rate=0.01) for _ in range(2))
    later.warm_up(prepared.space, lambda done, of, loss: pytest.fail("there is nothing to warm up"))
    for number, backbone in enumerate((OTHER, HYBRID, OTHER)):
        outcome, trained = later.evaluate(Proposal(number, backbone))
        assert trained is None
    assert timeless(alone.evaluate(Proposal(0, OTHER))[0]) == timeless(outcome)
    assert set(later.bank.state()) == {"updates"}


def test_without_sharing_snapshots_hold_no_weights(prepared: PreparedSearch, tmp_path: Path) -> None:
    evaluator = with_proxy(prepared, sharing="none")
    save_snapshot(evaluator.bank, tmp_path, 3)
    assert restore_snapshot(evaluator.bank, tmp_path, 3) == 3
    save_snapshot(with_proxy(prepared).bank, tmp_path, 4)
    with pytest.raises(UserError, match="this search shares none"):
        restore_snapshot(evaluator.bank, tmp_path, 4)


def test_rungs_change_nothing_for_a_candidate_that_passes(
    evaluator: ProxyEvaluator, prepared: PreparedSearch
) -> None:
    """Training in pieces is training in one go, dropout included."""
    climbing = with_proxy(prepared, rungs=(0.34, 0.67))
    whole, pieces = absorbed(evaluator, Proposal(0, HYBRID)), absorbed(climbing, Proposal(0, HYBRID))
    assert pieces.score == whole.score
    assert not changed(climbing, copied(evaluator))
    rungs = {name for name in pieces.metrics if name.startswith("rung")}
    assert rungs == {"rung 1", "rung 2"}
    assert len({pieces.metrics["rung 1"], pieces.metrics["rung 2"], whole.score}) == 3


def test_a_candidate_below_a_bar_is_stopped_there(prepared: PreparedSearch) -> None:
    climbing = with_proxy(prepared, rungs=(0.34, 0.67))
    steps: list[int] = []
    outcome, trained = climbing.evaluate(
        Proposal(0, HYBRID), (-1e9, 0.0), lambda done, *_: steps.append(done)
    )
    assert (outcome.status, outcome.score) == (Status.PRUNED, None)
    assert outcome.reason == f"{outcome.metrics['rung 2']:.4f} after 2 steps, below 0.0000"
    assert steps == [1, 2]
    assert trained is not None


def test_no_rung_stops_a_backbone_that_the_search_was_given(prepared: PreparedSearch) -> None:
    climbing = with_proxy(prepared, rungs=(0.34, 0.67))
    for origin in (GIVEN, f"{KNOWN}: hybrid"):
        outcome, _ = climbing.evaluate(Proposal(0, HYBRID, mutations=(origin,)), (0.0, 0.0))
        assert outcome.status is Status.COMPLETE
        assert {"rung 1", "rung 2"} <= outcome.metrics.keys()


def test_a_candidate_over_the_memory_limit_is_not_trained(
    prepared: PreparedSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = training_memory(HYBRID, prepared.model, 4, 16) / 1e9
    assert absorbed(with_proxy(prepared, max_memory_gb=needed * 1.01), Proposal(0, HYBRID)).score is not None
    monkeypatch.delattr(proxy_evaluator, "train")
    outcome = absorbed(with_proxy(prepared, max_memory_gb=needed * 0.99), Proposal(0, HYBRID))
    assert outcome.status is Status.FAILED
    assert outcome.reason == f"would take {needed:.3g} GB of memory, more than {needed * 0.99:.3g}"


@pytest.mark.parametrize(("taken", "status"), [(2.5, Status.FAILED), (1.5, Status.COMPLETE)])
def test_a_card_measures_the_memory_of_a_candidate(
    prepared: PreparedSearch, monkeypatch: pytest.MonkeyPatch, taken: float, status: Status
) -> None:
    """The card is a fake, on which a gigabyte is taken before."""
    evaluator = with_proxy(prepared, max_memory_gb=2.0)
    monkeypatch.setattr(evaluator, "_device", torch.device("cuda"))
    monkeypatch.setattr(evaluator, "_new", lambda backbone: MaskedLM(backbone, evaluator.model))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 10**9)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: (1 + taken) * 1e9)
    steps: list[int] = []
    outcome = absorbed(evaluator, Proposal(0, HYBRID), lambda done, of, loss: steps.append(done))
    assert outcome.status is status
    if status is Status.FAILED:
        assert outcome.reason == "took 2.5 GB of memory, more than 2"
        assert steps == []


def test_the_memory_of_a_teacher_is_no_candidates(
    prepared: PreparedSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator, events = with_proxy(prepared, max_memory_gb=2.0), list[str]()
    model = SimpleNamespace(to=lambda device: events.append("teacher moved"))
    monkeypatch.setattr(evaluator, "_start", SimpleNamespace(teacher=SimpleNamespace(model=model)))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: events.append("measured"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    evaluator._in_memory(2.0, lambda *rest: None)
    assert events == ["teacher moved", "measured"]


def test_a_candidate_over_the_time_limit_is_stopped(prepared: PreparedSearch) -> None:
    hurried = with_proxy(prepared, max_seconds=1e-9)
    before = copied(hurried)
    outcome = absorbed(hurried, Proposal(0, HYBRID))
    assert outcome.status is Status.FAILED
    assert outcome.reason == "trained for more than 1e-09 s after 1 of 3 steps"
    assert not changed(hurried, before)


def test_scores_trains_and_writes_back(evaluator: ProxyEvaluator) -> None:
    before = copied(evaluator)
    steps: list[tuple[int, int, float]] = []
    outcome = absorbed(evaluator, Proposal(0, HYBRID), lambda *step: steps.append(step))
    assert outcome.status is Status.COMPLETE
    assert outcome.score == -outcome.metrics["val_loss"]
    assert 0 <= outcome.metrics["mlm_accuracy"] <= 1
    assert outcome.seconds > 0
    assert [(done, of) for done, of, _ in steps] == [(1, 3), (2, 3), (3, 3)]
    touched = changed(evaluator, before)
    assert {
        "bias",
        "encoder.layers.0.convolution.kernel",
        "encoder.layers.1.attention.projection.weight",
    } <= touched
    assert not any(".layers.0.attention." in name or ".layers.1.convolution." in name for name in touched)


def test_the_score_is_that_of_the_weights_written_back(evaluator: ProxyEvaluator) -> None:
    outcome = absorbed(evaluator, Proposal(0, HYBRID))
    assert evaluator.rescore([HYBRID]) == [outcome.score]


def test_a_function_of_snapshot_and_number(evaluator: ProxyEvaluator, prepared: PreparedSearch) -> None:
    """With dropout, and whatever random numbers were drawn meanwhile."""
    assert prepared.model.dropout > 0
    again = prepared.evaluator()
    first = absorbed(evaluator, Proposal(7, HYBRID))
    torch.rand(13)
    again.rescore([OTHER, HYBRID])
    assert timeless(absorbed(again, Proposal(7, HYBRID))) == timeless(first)
    assert not changed(again, copied(evaluator))
    other = prepared.evaluator()
    assert timeless(absorbed(other, Proposal(8, HYBRID))) != timeless(first)


def test_saved_and_restored_bit_by_bit(
    evaluator: ProxyEvaluator, prepared: PreparedSearch, tmp_path: Path
) -> None:
    absorbed(evaluator, Proposal(0, HYBRID))
    save_snapshot(evaluator.bank, tmp_path, 1)
    kept = copied(evaluator)
    first = absorbed(evaluator, Proposal(1, OTHER))
    assert changed(evaluator, kept)
    restore_snapshot(evaluator.bank, tmp_path, 1)
    assert not changed(evaluator, kept)
    assert timeless(absorbed(evaluator, Proposal(1, OTHER))) == timeless(first)
    fresh = prepared.evaluator()
    restore_snapshot(fresh.bank, tmp_path, 1)
    assert timeless(absorbed(fresh, Proposal(1, OTHER))) == timeless(first)
    assert not changed(fresh, copied(evaluator))


def test_the_two_newest_snapshots_are_kept(evaluator: ProxyEvaluator, tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    for trials in (0, 1, 2, 3, 3, 4):  # 3 twice, as after a kill
        save_snapshot(evaluator.bank, folder, trials)
        names = sorted(path.name for path in folder.iterdir())
        assert names == [f"{number:08}.safetensors" for number in (trials - 1, trials) if number >= 0]


def test_half_a_snapshot_of_a_killed_process_goes(evaluator: ProxyEvaluator, tmp_path: Path) -> None:
    for trials in (0, 1):
        save_snapshot(evaluator.bank, tmp_path, trials)
    (tmp_path / "00000002.safetensors.123.partial").write_bytes(b"half")
    save_snapshot(evaluator.bank, tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000001.safetensors",
        "00000002.safetensors",
    ]


def test_a_write_that_fails_leaves_the_older_snapshots(
    evaluator: ProxyEvaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_snapshot(evaluator.bank, tmp_path, 0)
    save_snapshot(evaluator.bank, tmp_path, 1)

    def half(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(snapshots, "save_file", half)
    with pytest.raises(OSError, match="disk full"):
        save_snapshot(evaluator.bank, tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000000.safetensors",
        "00000001.safetensors",
    ]
    restore_snapshot(evaluator.bank, tmp_path, 1)


def test_a_snapshot_is_of_the_bank_as_it_was_and_at_most_one_behind(
    evaluator: ProxyEvaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on = threading.Semaphore(0), threading.Event()

    def waiting(tensors: dict[str, Tensor], path: Path) -> None:
        begun.release()
        assert may_go_on.wait(60)
        save_file(tensors, path)

    monkeypatch.setattr(snapshots, "save_file", waiting)
    kept = copied(evaluator)
    with closing(SnapshotWriter()) as writer:
        writer.save(evaluator.bank, tmp_path, 1)
        assert begun.acquire(timeout=60)
        absorbed(evaluator, Proposal(0, HYBRID))  # the search goes on
        assert changed(evaluator, kept)
        assert not list(tmp_path.glob("*.safetensors"))
        second = threading.Thread(target=writer.save, args=(evaluator.bank, tmp_path, 2))
        second.start()
        may_go_on.set()
        second.join()
        assert (tmp_path / "00000001.safetensors").exists()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "00000001.safetensors",
        "00000002.safetensors",
    ]
    after = copied(evaluator)
    assert restore_snapshot(evaluator.bank, tmp_path, 1) == 1
    assert not changed(evaluator, kept)
    assert restore_snapshot(evaluator.bank, tmp_path, 2) == 2
    assert not changed(evaluator, after)


@pytest.mark.parametrize("end", ["save", "wait", "close"])
def test_a_snapshot_that_was_not_written_is_told(
    evaluator: ProxyEvaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    def full(tensors: object, path: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(snapshots, "save_file", full)
    writer = SnapshotWriter()
    writer.save(evaluator.bank, tmp_path, 1)
    with pytest.raises(OSError, match="disk full"):
        getattr(writer, end)(*((evaluator.bank, tmp_path, 2) if end == "save" else ()))
    writer.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_candidate_is_that_of_drawn_weights(
    corpus_file: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    """Where the bank overwrites all weights none are drawn, unless those draws come before dropout's."""
    config = tiny.config(corpus_file, model={"dropout": dropout})
    first, second = (prepare(config).evaluator() for _ in range(2))
    drawn: list[str] = []
    real = MaskedLM.__init__

    def counting(self: MaskedLM, *sizes: Any) -> None:
        real(self, *sizes)
        drawn.append(self.bias.device.type)

    with monkeypatch.context() as patch:
        patch.setattr(MaskedLM, "__init__", counting)
        outcome, trained = first.evaluate(Proposal(3, HYBRID))
        scores = first.rescore([OTHER])
    assert drawn == ["cpu" if dropout else "meta"] * 2
    monkeypatch.setattr(
        ProxyEvaluator, "_new", lambda self, backbone: MaskedLM(backbone, self.model).to(self._device)
    )
    same_outcome, same_trained = second.evaluate(Proposal(3, HYBRID))
    assert timeless(outcome) == timeless(same_outcome)
    assert scores == second.rescore([OTHER])
    assert trained is not None
    assert same_trained is not None
    assert all(same(tensor, same_trained.weights[name]) for name, tensor in trained.weights.items())


def test_a_candidate_is_captured_where_the_config_asks_for_it(
    corpus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is never compiled; a device without CUDA graphs says so and computes the same."""
    plain = prepare(tiny.config(corpus_file))
    chosen = replace(plain, config=plain.config.model_copy(update={"compile": "reduce-overhead"}))
    asked: list[str] = []

    def noted(mode: Compile, *rest: Any) -> Graphs | None:
        asked.append(mode)
        return graphs_for(mode, *rest)

    monkeypatch.setattr(loop, "runs_ahead", lambda device: True)
    monkeypatch.setattr(loop, "graphs_for", noted)
    outcomes = [each.evaluator().evaluate(Proposal(0, HYBRID))[0] for each in (plain, chosen)]
    assert set(asked) == {"off", "reduce-overhead"}
    assert timeless(outcomes[0]) == timeless(outcomes[1])
    assert "steps are not captured: cpu has no CUDA graphs" in chosen.announcement()
    assert not any("captured" in line for line in plain.announcement())
    # What a cluster captures, this machine cannot know.
    assert not any("captured" in line for line in chosen.announcement(ray="ray://there"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def garble(path: Path) -> None:
    path.write_bytes(b"garbage" * 100)


@pytest.mark.parametrize("damage", [Path.unlink, cut, garble])
def test_without_a_whole_snapshot_there_is_nothing_to_resume(
    evaluator: ProxyEvaluator, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    save_snapshot(evaluator.bank, tmp_path, 3)
    damage(tmp_path / "00000003.safetensors")
    before = copied(evaluator)
    with pytest.raises(UserError, match=r"no whole snapshot .* of 3 trials; the run cannot be resumed"):
        restore_snapshot(evaluator.bank, tmp_path, 3)
    assert not changed(evaluator, before)


@pytest.mark.parametrize("damage", [Path.unlink, cut, garble])
def test_the_snapshot_before_a_damaged_one_is_taken(
    evaluator: ProxyEvaluator, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    save_snapshot(evaluator.bank, tmp_path, 2)
    kept = copied(evaluator)
    absorbed(evaluator, Proposal(2, HYBRID))
    save_snapshot(evaluator.bank, tmp_path, 3)
    damage(tmp_path / "00000003.safetensors")
    said: list[str] = []
    assert restore_snapshot(evaluator.bank, tmp_path, 3, said.append) == 2
    assert not changed(evaluator, kept)
    assert len(said) == (damage is not Path.unlink)
    assert all("00000003.safetensors cannot be read" in line for line in said)


def test_a_snapshot_ahead_of_the_history_is_left_alone(evaluator: ProxyEvaluator, tmp_path: Path) -> None:
    """A kill between the snapshot and the records of its trials."""
    save_snapshot(evaluator.bank, tmp_path, 2)
    save_snapshot(evaluator.bank, tmp_path, 4)
    assert restore_snapshot(evaluator.bank, tmp_path, 3) == 2


def test_a_snapshot_of_other_sizes_is_refused(
    evaluator: ProxyEvaluator, corpus_file: Path, tmp_path: Path
) -> None:
    other = prepare(tiny.config(corpus_file, model={"layers": 3})).evaluator()
    save_snapshot(other.bank, tmp_path, 0)
    with pytest.raises(UserError, match="of a search with other sizes"):
        restore_snapshot(evaluator.bank, tmp_path, 0)


def diverging(model: MaskedLM, batches: Iterator[Any], recipe: Recipe, *rest: Any, **options: Any) -> float:
    train(model, batches, recipe, *rest, **options)
    raise Diverged("loss is nan at step 4")


def test_a_diverged_candidate_writes_nothing_back(
    evaluator: ProxyEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copied(evaluator)
    monkeypatch.setattr(proxy_evaluator, "train", diverging)
    outcome = absorbed(evaluator, Proposal(0, HYBRID))
    assert (outcome.status, outcome.score, outcome.reason) == (Status.DIVERGED, None, "loss is nan at step 4")
    assert outcome.seconds > 0
    assert not changed(evaluator, before)


def test_a_candidate_that_really_diverges_writes_nothing_back(evaluator: ProxyEvaluator) -> None:
    bank_of(evaluator).tensors["encoder.layers.1.attention.output.weight"].fill_(math.nan)
    before = copied(evaluator)
    outcome = absorbed(evaluator, Proposal(0, HYBRID))
    assert (outcome.status, outcome.reason) == (Status.DIVERGED, "loss is nan at step 1")
    assert not changed(evaluator, before)
    # Others are not harmed by the poisoned branch.
    assert absorbed(evaluator, Proposal(1, OTHER)).status is Status.COMPLETE


def test_a_score_that_is_no_number_is_divergence(
    evaluator: ProxyEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copied(evaluator)
    monkeypatch.setattr(goal, "evaluate", lambda *rest: Evaluation(math.inf, 0.0))
    outcome = absorbed(evaluator, Proposal(0, HYBRID))
    assert (outcome.status, outcome.reason) == (Status.DIVERGED, "validation loss is inf")
    assert not changed(evaluator, before)
    assert evaluator.rescore([HYBRID]) == [-1e9]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
    ],
)
def test_a_candidate_too_large_for_the_memory_fails(
    evaluator: ProxyEvaluator, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*rest: object, **options: object) -> None:
        raise error

    before = copied(evaluator)
    monkeypatch.setattr(proxy_evaluator, "train", refuse)
    outcome = absorbed(evaluator, Proposal(0, HYBRID))
    assert (outcome.status, outcome.score) == (Status.FAILED, None)
    assert outcome.reason.startswith("out of memory: ")
    assert "\n" not in outcome.reason
    assert not changed(evaluator, before)


def test_a_bug_is_not_caught(evaluator: ProxyEvaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*rest: object, **options: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(proxy_evaluator, "train", buggy)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        absorbed(evaluator, Proposal(0, HYBRID))


def test_rescoring_trains_nothing(evaluator: ProxyEvaluator) -> None:
    before = copied(evaluator)
    scores = evaluator.rescore([HYBRID, OTHER])
    assert evaluator.rescore([OTHER, HYBRID]) == scores[::-1]
    assert not changed(evaluator, before)
    assert evaluator.rescore([]) == []
    absorbed(evaluator, Proposal(0, HYBRID))
    assert evaluator.rescore([HYBRID])[0] != scores[0]  # as the bank stands now


@pytest.mark.parametrize(("share", "idle"), [(0.0, ".attention."), (1.0, ".convolution.")])
def test_the_warm_up_has_its_own_share_of_attentions(corpus_file: Path, share: float, idle: str) -> None:
    prepared = prepare(tiny.config(corpus_file, proxy={"warmup_attention_share": share}))
    evaluator = prepared.evaluator()
    before = copied(evaluator)
    evaluator.warm_up(prepared.space, lambda *rest: None)
    touched = changed(evaluator, before)
    assert any(".feed_forward." in name for name in touched)
    assert not any(idle in name for name in touched)


def test_warm_up_is_a_function_of_the_seed(evaluator: ProxyEvaluator, prepared: PreparedSearch) -> None:
    before = copied(evaluator)
    steps: list[tuple[int, int]] = []
    evaluator.warm_up(prepared.space, lambda done, of, loss: steps.append((done, of)))
    assert steps == [(done, 14) for done in range(1, 15)]  # a segment of ten and one of four
    assert changed(evaluator, before)
    again = prepared.evaluator()
    again.warm_up(prepared.space, lambda *rest: None)
    assert not changed(again, copied(evaluator))


def test_a_warm_up_in_a_known_space_trains_known_attentions_and_kernels_alike(corpus_file: Path) -> None:
    """Segments of ten steps: as many as there are kinds of layers."""
    config = tiny.modern(corpus_file, proxy={"sharing": "biws", "rungs": [], "batch_size": 2})
    attentions = len(config.bounds.known_attentions)
    kinds = attentions + len(KERNEL_SIZES)
    config = config.model_copy(update={"proxy": config.proxy.model_copy(update={"warmup_steps": 10 * kinds})})
    prepared = prepare(config)
    evaluator = prepared.evaluator()
    evaluator.warm_up(prepared.space, lambda *rest: None)
    for row in bank_of(evaluator).update_counts.tolist():
        counts = dict(zip(BRANCHES, row, strict=True))
        assert counts["output"] == counts["Q"] == 10 * attentions
        assert [counts[f"conv {kernel}"] for kernel in KERNEL_SIZES] == [70, 60, 50, 40, 30, 20, 10]


def test_a_candidate_whose_branches_were_not_trained_is_calibrated(prepared: PreparedSearch) -> None:
    """A warm-up of convolutions: an attention has all extra steps, a convolution has none."""
    evaluator = with_proxy(prepared, calibration=1.0, warmup_attention_share=0.0, rungs=(0.5,))
    evaluator.warm_up(prepared.space, lambda *rest: None)
    updates = bank_of(evaluator).updates
    steps: list[tuple[int, int]] = []
    attention, trained = evaluator.evaluate(
        Proposal(0, HYBRID), (), lambda done, of, loss: steps.append((done, of))
    )
    extra = attention.metrics["calibration"]
    assert extra in (2, 3)  # of three, for one layer of two and for what its kernel lacks
    assert steps == [(done, 3 + extra) for done in range(1, int(4 + extra))]
    assert trained is not None
    assert trained.updates == updates + 3 + extra
    assert {name for name in attention.metrics if name.startswith("rung")} == {"rung 2"}
    convolution, _ = evaluator.evaluate(Proposal(1, Backbone.parse("conv 3\nconv 3").canonical()))
    assert "calibration" not in convolution.metrics
    off, _ = with_calibration_off(evaluator, prepared)
    assert "calibration" not in off.metrics


def with_calibration_off(evaluator: ProxyEvaluator, prepared: PreparedSearch) -> tuple[Outcome, Any]:
    other = with_proxy(prepared, calibration=0.0)
    other.bank.load_state(evaluator.bank.state())
    return other.evaluate(Proposal(0, HYBRID))


def test_warm_up_may_be_skipped(corpus_file: Path) -> None:
    prepared = prepare(tiny.config(corpus_file, proxy={"warmup_steps": 0}))
    evaluator = prepared.evaluator()
    before = copied(evaluator)
    evaluator.warm_up(prepared.space, lambda *rest: None)
    assert not changed(evaluator, before)


def test_divergence_in_the_warm_up_is_survived(
    evaluator: ProxyEvaluator, prepared: PreparedSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copied(evaluator)
    monkeypatch.setattr(proxy_evaluator, "train", diverging)
    evaluator.warm_up(prepared.space, lambda *rest: None)
    assert not changed(evaluator, before)


def test_the_seed_decides_on_weights_and_batches(corpus_file: Path) -> None:
    banks = [copied(prepare(tiny.config(corpus_file, seed=seed)).evaluator()) for seed in (0, 0, 1)]
    assert all(same(banks[0][name], banks[1][name]) for name in banks[0])
    assert not same(banks[0]["transform.weight"], banks[2]["transform.weight"])
