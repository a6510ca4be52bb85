"""The Pareto front of cost and score."""

from collections.abc import Sequence


def front(costs: Sequence[float | None], scores: Sequence[float | None]) -> list[int]:
    """Finds the candidates that score higher than all others of at most their cost, and the first of equals.

    Args:
        costs: Cost of each candidate; None if unknown.
        scores: Score of each candidate; None if it has none.

    Returns:
        Indices of the candidates, by rising cost.
    """
    points = [
        (price, -score, index)
        for index, (price, score) in enumerate(zip(costs, scores, strict=True))
        if price is not None and score is not None
    ]
    indices: list[int] = []
    best = float("inf")
    for _, loss, index in sorted(points):
        if loss < best:
            best = loss
            indices.append(index)
    return indices
