"""Several objectives: non-dominated fronts and crowding distance of NSGA-II (Deb et al. 2002)."""

from collections.abc import Sequence

from autobert_zero.search.trial import Trial

COSTS = {"parameters": "parameters", "flops": "flops", "latency": "latency_ms"}
"""The metric of a trial that each objective other than the score minimises."""

Point = tuple[float, ...]
"""One value for each objective; lower is better."""


def point(trial: Trial, score: float, objectives: Sequence[str]) -> Point:
    """A trial's values of the objectives, lower is better; a cost that was not recorded is infinite."""
    costs = trial.outcome.metrics
    return tuple(-score if name == "score" else costs.get(COSTS[name], float("inf")) for name in objectives)


def dominates(one: Point, other: Point) -> bool:
    """Whether one point is nowhere worse than the other and somewhere better."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Non-dominated sorting: indices of the points that none dominates, that only those dominate, ..."""
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
            continue  # the objective does not tell them apart
        distances[order[0]] = distances[order[-1]] = float("inf")
        for before, index, after in zip(order, order[1:], order[2:], strict=False):
            distances[index] += (values[after] - values[before]) / span
    return distances


def nsga2_order(points: Sequence[Point]) -> list[int]:
    """Indices by front, within a front the least crowded first; ties by index."""
    order: list[int] = []
    for front in fronts(points):
        distances = crowding([points[index] for index in front])
        order += [index for _, index in sorted(zip((-d for d in distances), front, strict=True))]
    return order
