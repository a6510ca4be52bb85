"""Which candidates no other beats at a lower cost."""

from collections.abc import Sequence


def front(costs: Sequence[float | None], scores: Sequence[float | None]) -> list[int]:
    """Finds the Pareto front: of low cost and high score.

    Args:
        costs: Of each candidate; None where unknown.
        scores: Of each candidate; None where it has none.

    Returns:
        Indices by rising cost: each scores higher than all others of at most its cost. Of equals the first.
    """
    points = [
        (price, -score, index)
        for index, (price, score) in enumerate(zip(costs, scores, strict=True))
        if price is not None and score is not None
    ]
    found: list[int] = []
    best = float("inf")
    for _, lost, index in sorted(points):
        if lost < best:
            best = lost
            found.append(index)
    return found
