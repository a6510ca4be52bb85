"""Populations of strategies in rounds: by score, and by non-dominated fronts."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence

from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.strategies.pareto import Point, fronts, nsga2_order, point
from autobert_zero.search.trial import Trial


class ByScore:
    """All completed trials, the best score first; ties go to the older trial.

    Args:
        config: Settings of the strategy; not needed here.
    """

    def __init__(self, config: StrategyConfig) -> None:
        self._scores: dict[int, float] = {}
        self._ranking: list[tuple[float, int]] = []  # (-score, number), best first

    def best(self, count: int) -> list[int]:
        return [number for _, number in self._ranking[:count]]

    def rescore(self, scores: Mapping[int, float]) -> None:
        for number, score in scores.items():
            if number in self._scores:
                del self._ranking[bisect_left(self._ranking, (-self._scores[number], number))]
            self._scores[number] = score
            insort(self._ranking, (-score, number))

    def merits(self, trials: Sequence[Trial]) -> list[float]:
        """The scores of the trials."""
        return [_score_of(trial) for trial in trials]

    def join(self, trials: Sequence[Trial]) -> None:
        self.rescore({trial.proposal.number: _score_of(trial) for trial in trials})


class ByFronts:
    """The M best by non-dominated fronts and crowding distance, NSGA-II (Deb et al. 2002).

    The merit of a trial is how early its front is within its round.

    Args:
        config: Settings of the strategy: its objectives, and the size M of its population.
    """

    def __init__(self, config: StrategyConfig) -> None:
        self._objectives, self._size = config.objectives, config.population
        self._trials: dict[int, Trial] = {}  # the survivors, the best first
        self._scores: dict[int, float] = {}

    def best(self, count: int) -> list[int]:
        return list(self._trials)[:count]

    def rescore(self, scores: Mapping[int, float]) -> None:
        self._scores |= scores
        if scores:
            self._trials = self._sorted(self._trials.values())

    def merits(self, trials: Sequence[Trial]) -> list[float]:
        points = [point(trial, _score_of(trial), self._objectives) for trial in trials]
        merits = [0.0] * len(points)
        for rank, front in enumerate(fronts(points)):
            for index in front:
                merits[index] = -float(rank)
        return merits

    def join(self, trials: Sequence[Trial]) -> None:
        self._scores |= {trial.proposal.number: _score_of(trial) for trial in trials}
        ordered = self._sorted([*self._trials.values(), *trials])
        self._trials = dict(list(ordered.items())[: self._size])

    def _sorted(self, trials: Iterable[Trial]) -> dict[int, Trial]:
        """Trials by number, in NSGA-II's order."""
        by_number = sorted(trials, key=lambda trial: trial.proposal.number)
        points: list[Point] = [
            point(trial, self._scores[trial.proposal.number], self._objectives) for trial in by_number
        ]
        ordered = [by_number[index] for index in nsga2_order(points)]
        return {trial.proposal.number: trial for trial in ordered}


def _score_of(trial: Trial) -> float:
    assert trial.outcome.score is not None
    return trial.outcome.score
