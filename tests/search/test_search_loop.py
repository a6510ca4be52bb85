"""The search's loop with parts that follow a script: replayed trials, and the scores of twins."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from autobert_zero.config import ModelConfig, ProxyConfig, SearchConfig
from autobert_zero.errors import UserError
from autobert_zero.search.history import History
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.search_runs.loop import Search
from autobert_zero.space import Backbone

ONE = Backbone.parse("softsign(-Q) + V\nconv 3")
TWIN = Backbone.parse("-softsign(Q) + V\nconv 3")  # computes the same
OTHER = Backbone.parse("conv 5\nconv 3")
THIRD = Backbone.parse("conv 7\nconv 3")
SCORES = {ONE: 1.0, TWIN: -99.0, OTHER: 2.0, THIRD: 3.0}


class Scripted:
    """A strategy that proposes what it was given, one trial a round.

    Args:
        backbones: In order.
        stale: Number of a trial to that of the proposal before which it is scored again.
    """

    def __init__(self, backbones: Sequence[Backbone], stale: Mapping[int, int]) -> None:
        self._backbones, self._stale, self._told = backbones, stale, list[Trial]()

    def contenders(self) -> list[Trial]:
        return [trial for trial in self._told if self._stale.get(trial.proposal.number) == len(self._told)]

    def rescore(self, scores: Mapping[int, float]) -> None:
        pass

    def independent(self) -> int:
        return 1

    def ask(self) -> Proposal:
        return Proposal(len(self._told), self._backbones[len(self._told)], len(self._told))

    def tell(self, trial: Trial) -> None:
        self._told.append(trial)


class Evaluator:
    """Evaluator and executor at once: scores by a table, raised by 10 where they are fresh.

    Args:
        absorbed: Trials that the newest snapshot knows.
    """

    def __init__(self, absorbed: int) -> None:
        self.absorbed = absorbed
        self.trained: list[int] = []
        self.bank = SimpleNamespace(absorb=lambda *trained: None)

    def warm_up(self, *rest: Any) -> None:
        pass

    def save(self, folder: Path, trials: int) -> None:
        pass

    def restore(self, folder: Path, trials: int, say: Any) -> int:
        return self.absorbed

    def rescore(self, evaluator: Any, backbones: Sequence[Backbone], *rest: Any) -> list[float]:
        return [SCORES[backbone] + 10 for backbone in backbones]

    def run(self, proposals: Sequence[Proposal], *rest: Any) -> Iterator[tuple[int, tuple[Outcome, None]]]:
        for place, proposal in enumerate(proposals):
            self.trained.append(proposal.number)
            yield place, (Outcome(Status.COMPLETE, SCORES[proposal.backbone]), None)


def searched(
    folder: Path,
    backbones: Sequence[Backbone],
    stale: Mapping[int, int] | None = None,
    recorded: Sequence[Trial] = (),
    absorbed: int = 0,
) -> tuple[list[Trial], Evaluator]:
    """Runs a search over the backbones, from recorded trials on."""
    history = History(folder / "study.db")
    for trial in recorded:
        history.append(trial)
    evaluator = Evaluator(absorbed)
    config = SearchConfig(model=ModelConfig(layers=2), proxy=ProxyConfig(candidates=len(backbones)))
    with RunProgress(Console(quiet=True)) as progress:
        search = Search(
            config=config,
            space=config.bounds,
            strategy=Scripted(backbones, stale or {}),
            evaluator=evaluator,  # type: ignore[arg-type]
            executor=evaluator,  # type: ignore[arg-type]
            costs=lambda backbone: {},
            history=history,
            snapshots=folder / "bank",
            progress=progress,
            board=None,
            trials=list(recorded),
        )
        search.run()
    assert history.load() == search.trials
    return search.trials, evaluator


def trial(number: int, backbone: Backbone, score: float) -> Trial:
    return Trial(Proposal(number, backbone, number), Outcome(Status.COMPLETE, score))


def test_replayed_trials_keep_what_is_recorded_of_them(tmp_path: Path) -> None:
    """The snapshot of before both is trained on again, but no second result of them is recorded."""
    recorded = [trial(0, ONE, 0.25), trial(1, OTHER, 0.5)]
    trials, evaluator = searched(tmp_path, [ONE, OTHER, THIRD], recorded=recorded)
    assert trials == [*recorded, trial(2, THIRD, 3.0)]
    assert evaluator.trained == [0, 1, 2]


def test_a_replayed_trial_with_another_backbone_is_refused(tmp_path: Path) -> None:
    recorded = [trial(0, ONE, 0.25), trial(1, OTHER, 0.5)]
    with pytest.raises(UserError, match="trial 1 is recorded with another backbone than this version"):
        searched(tmp_path, [ONE, THIRD, OTHER], recorded=recorded, absorbed=1)
    assert History(tmp_path / "study.db").load() == recorded


@pytest.mark.parametrize(
    ("backbones", "stale", "score"),
    [
        ([ONE, OTHER, TWIN], {}, 1.0),
        ([ONE, OTHER, TWIN], {0: 2}, 11.0),  # scored again just before the twin
        ([ONE, OTHER, THIRD, TWIN], {0: 2}, 11.0),  # in an earlier round
        ([ONE, OTHER, THIRD, TWIN], {1: 2}, 1.0),  # another one was
    ],
)
def test_a_twin_of_an_earlier_round_gets_the_newest_score(
    tmp_path: Path, backbones: list[Backbone], stale: dict[int, int], score: float
) -> None:
    *before, twin = searched(tmp_path, backbones, stale)[0]
    assert [each.outcome.score for each in before] == [SCORES[backbone] for backbone in backbones[:-1]]
    assert (twin.outcome.score, twin.outcome.same_as) == (score, 0)
    assert twin.outcome.reason == "computes the same as trial 0"
