"""Pareto OP-NAS: several objectives, survival and parents by NSGA-II (Deb et al. 2002)."""

from collections.abc import Mapping, Sequence

from autobert_zero.search.strategies.op_nas import OpNas
from autobert_zero.search.trial import Status, Trial

COSTS = {"parameters": "parameters", "flops": "flops", "latency": "latency_ms"}
"""The metric of a trial that each objective beside the score minimises."""

Point = tuple[float, ...]
"""One value for each objective; lower is better."""


class ParetoOpNas(OpNas):
    """OP-NAS in which non-dominated fronts and crowding distance take the place of the score.

    The M best in that order survive a round, and the first K of them are its parents. The reward of an
    operation is how early the front is, within its round, that a trial with it belongs to.
    """

    def begin(self) -> None:
        super().begin()
        self._survivors: list[int] = []
        self._order: list[int] = []  # the survivors, best first

    def rescore(self, scores: Mapping[int, float]) -> None:
        super().rescore(scores)
        if scores:
            self._sort(self._survivors)

    def _best(self, count: int) -> list[int]:
        return self._order[:count]

    def _close_round(self) -> None:
        newcomers = [
            trial.proposal.number for trial in self._round if trial.outcome.status is Status.COMPLETE
        ]
        super()._close_round()
        self._sort([*self._survivors, *newcomers])
        self._survivors = self._order = self._order[: self.config.population]

    def _sort(self, numbers: Sequence[int]) -> None:
        trials = [self._trials[number] for number in sorted(numbers)]
        points = [self._point(trial, self._scores[trial.proposal.number]) for trial in trials]
        self._order = [trials[index].proposal.number for index in nsga2_order(points)]

    def _merits(self, trials: Sequence[Trial]) -> list[float]:
        points = [self._point(trial, trial.outcome.score or 0.0) for trial in trials]
        merits = [0.0] * len(points)
        for place, front in enumerate(fronts(points)):
            for index in front:
                merits[index] = -float(place)
        return merits

    def _point(self, trial: Trial, score: float) -> Point:
        return point(trial, score, self.config.objectives)


def point(trial: Trial, score: float, objectives: Sequence[str]) -> Point:
    """A trial's values of the objectives, lower is better; a cost that was not recorded is infinite."""
    costs = trial.outcome.metrics
    return tuple(-score if name == "score" else costs.get(COSTS[name], float("inf")) for name in objectives)


def pareto_front(
    trials: Sequence[Trial], objectives: Sequence[str], scores: Mapping[int, float] | None = None
) -> list[Trial]:
    """The completed trials that no other dominates, in the order of their first objective, best first.

    Args:
        trials: Of one run.
        objectives: As in `strategy.objectives`.
        scores: Newest scores by trial number, see `history.newest_scores`; else those of the outcomes.
    """
    complete = [trial for trial in trials if trial.outcome.score is not None]
    points = [
        point(trial, (scores or {}).get(trial.proposal.number, trial.outcome.score or 0.0), objectives)
        for trial in complete
    ]
    if not complete:
        return []
    return [complete[index] for index in sorted(fronts(points)[0], key=lambda index: (points[index], index))]


def dominates(one: Point, other: Point) -> bool:
    """Whether it is nowhere worse and somewhere better."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Non-dominated sorting: indices of those that none dominates, then of those that only they do, ..."""
    left = list(range(len(points)))
    sorted_: list[list[int]] = []
    while left:
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        sorted_.append(front)
        left = [i for i in left if i not in front]
    return sorted_


def crowding(points: Sequence[Point]) -> list[float]:
    """Crowding distance of the points of one front: the extremes of every objective are infinitely far."""
    distances = [0.0] * len(points)
    for values in zip(*points, strict=True):
        order = sorted(range(len(points)), key=lambda index: (values[index], index))
        span = values[order[-1]] - values[order[0]]
        if not 0 < span < float("inf"):
            continue  # the objective tells them not apart
        distances[order[0]] = distances[order[-1]] = float("inf")
        for before, index, after in zip(order, order[1:], order[2:], strict=False):
            distances[index] += (values[after] - values[before]) / span
    return distances


def nsga2_order(points: Sequence[Point]) -> list[int]:
    """Indices by front, within a front the least crowded first; ties by index."""
    order: list[int] = []
    for front in fronts(points):
        distances = crowding([points[index] for index in front])
        order += [index for _, index in sorted(zip((-each for each in distances), front, strict=True))]
    return order
