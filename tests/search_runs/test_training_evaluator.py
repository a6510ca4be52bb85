"""What the evaluator of a run scores again, trains again and merges; its executor follows a script."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from autobert_zero.errors import UserError
from autobert_zero.nn import NoSharing
from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.training_config import ProxyConfig
from autobert_zero.search.trial import KNOWN, Outcome, Proposal, Status, Trial
from autobert_zero.search_runs.proxy_evaluator import WORST
from autobert_zero.search_runs.student_evaluator import StudentEvaluator
from autobert_zero.search_runs.training_evaluator import TrainingEvaluator
from autobert_zero.space import KERNEL_SIZES, Backbone, Convolution, Space

DIVERGES = Convolution(KERNEL_SIZES[-1])


def trial(number: int, known: bool = False, rescored: Sequence[int] = ()) -> Trial:
    mutations = (f"{KNOWN}: x",) if known else ()
    backbone = Backbone((Convolution(KERNEL_SIZES[number % 6]),)).canonical()
    proposal = Proposal(number, backbone, mutations=mutations)
    return Trial(proposal, Outcome(Status.COMPLETE, 0.0), dict.fromkeys(rescored, 0.0))


class Script:
    """An executor: fresh scores are 10 and the kernel, scores of trainings 20 and the kernel."""

    reads_snapshots = False

    def __init__(self) -> None:
        self.trained: list[int] = []

    def rescore(self, evaluator: Any, backbones: Sequence[Backbone], snapshot: Path) -> list[float]:
        return [10.0 + kernel(backbone) for backbone in backbones]

    def run(
        self, proposals: Sequence[Proposal], *rest: Any
    ) -> Iterator[tuple[int, tuple[Outcome, str | None]]]:
        for place, proposal in reversed(list(enumerate(proposals))):
            self.trained.append(proposal.number)
            if proposal.backbone.layers[0] == DIVERGES:
                yield place, (Outcome(Status.DIVERGED, reason="loss is nan"), None)
            else:
                score = 20.0 + kernel(proposal.backbone)
                yield place, (Outcome(Status.COMPLETE, score), f"of {proposal.backbone}")


def kernel(backbone: Backbone) -> int:
    layer = backbone.layers[0]
    assert isinstance(layer, Convolution)
    return layer.kernel


def refreshed(
    trials: Sequence[Trial], contenders: Sequence[int], **proxy: Any
) -> tuple[Mapping[int, float], list[int], list[str]]:
    """New scores, the numbers that were trained under, and what the bank merged after a candidate."""
    merged: list[str] = []
    executor: Any = Script()
    bank = SimpleNamespace(absorb=lambda *trained: merged.extend(trained))
    evaluator: Any = SimpleNamespace(bank=bank)
    config = ProxyConfig(candidates=100, **{"train_again": 4, **proxy})
    with RunProgress(Console(quiet=True)) as progress:
        run = TrainingEvaluator(config, None, evaluator, executor, Path("bank"), progress)  # type: ignore[arg-type]
        scores = run.rescore([trials[number] for number in contenders], trials)
        assert merged == []  # the next candidates start from the bank as it was
        run.evaluate([Proposal(len(trials), Backbone((Convolution(9),)).canonical())], trials)
        run.evaluate([], trials)  # nothing is merged twice
    return scores, executor.trained, merged


def test_who_was_trained_long_ago_is_trained_again_and_merged_with_the_next_candidate() -> None:
    trials = [trial(number) for number in range(6)]
    scores, trained, merged = refreshed(trials, [5, 1, 0])
    assert scores == {5: 41.0, 0: 23.0, 1: 25.0}
    assert trained == [106, 106, 6]
    assert merged == ["of conv 3", "of conv 5", "of conv 9"]


def test_what_the_search_was_given_is_trained_again_too() -> None:
    trials = [trial(0, known=True), *(trial(number) for number in range(1, 6))]
    scores, trained, _ = refreshed(trials, [5])
    assert scores == {5: 41.0, 0: 23.0}
    assert trained == [106, 6]


def test_one_that_diverges_gets_the_worst_score_and_teaches_nothing() -> None:
    broken = Trial(Proposal(0, Backbone((DIVERGES,)).canonical()), Outcome(Status.COMPLETE, 0.0))
    scores, _, merged = refreshed([broken, *map(trial, range(1, 6))], [0])
    assert scores == {0: WORST}
    assert merged == ["of conv 9"]


@pytest.mark.parametrize(
    ("proxy", "scores"), [({"train_again": 0}, {0: 13.0, 5: 41.0}), ({"sharing": "none"}, {})]
)
def test_it_may_be_left_out(proxy: dict[str, Any], scores: dict[int, float]) -> None:
    trials = [trial(number) for number in range(6)]
    found, trained, merged = refreshed(trials, [0, 5], **proxy)
    assert found == scores
    assert trained == [6]
    assert merged == ["of conv 9"]


class Halving:
    """An executor whose scores depend on the backbone; who is below the bar of a rung is stopped there."""

    reads_snapshots = True

    def run(
        self, proposals: Sequence[Proposal], thresholds: Sequence[float], snapshot: Path, on_step: Any
    ) -> Iterator[tuple[int, tuple[Outcome, None]]]:
        assert snapshot.name == "00000000.safetensors"
        for place, proposal in enumerate(proposals):
            score = Random(proposal.backbone.key()).random()
            if thresholds and score < thresholds[0]:
                yield place, (Outcome(Status.PRUNED, metrics={"rung 2": score}), None)
            else:
                yield place, (Outcome(Status.COMPLETE, score, metrics={"rung 2": score}), None)


class Killed(MemoryHistory):
    """A history whose process ends before it records a trial."""

    def __init__(self, trials: Sequence[Trial] = (), at: int | None = None) -> None:
        super().__init__(trials)
        self.at = at

    def append(self, trial: Trial) -> None:
        if trial.proposal.number == self.at:
            raise KeyboardInterrupt
        super().append(trial)


def search_from_a_model(
    strategy: str, rungs: tuple[float, ...], snapshots: Path, history: MemoryHistory
) -> list[Trial]:
    """A search without any training of twelve candidates, four of them together."""
    space = Space(4, min_layers=1, attention_share=0.0)
    proxy = ProxyConfig(candidates=12, sharing="none", together=4, steps=4, rungs=rungs)
    config = StrategyConfig(name=strategy, population=5, parents=2, children=2, tournament=3)
    shared: Any = SimpleNamespace(bank=NoSharing(), warm_up=lambda space, on_step: None)
    executor: Any = Halving()
    with RunProgress(Console(quiet=True)) as progress:
        evaluator = StudentEvaluator(proxy, space, shared, executor, snapshots, progress)
        return Search(make_strategy(space, 0, config), evaluator, history, together=4).run(12)


@pytest.mark.parametrize(
    ("strategy", "rungs"),
    [
        ("regularised-evolution", ()),
        ("op-nas", (0.5,)),
        ("random", (0.5,)),
    ],
)
def test_a_killed_search_from_a_model_asks_in_the_same_batches(
    strategy: str, rungs: tuple[float, ...], tmp_path: Path
) -> None:
    whole = search_from_a_model(strategy, rungs, tmp_path / "whole", MemoryHistory())
    for kill in (3, 7, 10):
        killed = Killed(at=kill)
        with pytest.raises(KeyboardInterrupt):
            search_from_a_model(strategy, rungs, tmp_path / str(kill), killed)
        assert len(killed.load()) == kill
        killed.at = None
        assert search_from_a_model(strategy, rungs, tmp_path / str(kill), killed) == whole


def test_where_batches_end_may_be_unknown_but_not_damaged(tmp_path: Path) -> None:
    history = MemoryHistory()
    whole = search_from_a_model("random", (), tmp_path, history)
    batches = tmp_path / "batches.json"
    assert json.loads(batches.read_text()) == [0, 4, 8, 12]
    batches.unlink()  # as in a run of an earlier version
    assert search_from_a_model("random", (), tmp_path, history) == whole
    assert json.loads(batches.read_text()) == [12]
    batches.write_text("{")
    with pytest.raises(UserError, match=r"batches.json is damaged"):
        search_from_a_model("random", (), tmp_path, history)
