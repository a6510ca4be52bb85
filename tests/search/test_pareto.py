"""NSGA-II against tables made by hand, and brute force."""

from collections.abc import Sequence
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.strategies.pareto import crowding, fronts, nsga2_order
from autobert_zero.search.trial import Outcome, Status, Trial
from autobert_zero.space import Space

POINTS = [(1.0, 5.0), (2.0, 3.0), (4.0, 1.0), (2.0, 4.0), (5.0, 5.0), (3.0, 2.0)]


def test_fronts() -> None:
    assert fronts(POINTS) == [[0, 1, 2, 5], [3], [4]]
    assert fronts([(1.0, 1.0), (1.0, 1.0)]) == [[0, 1]]
    assert fronts([]) == []


def test_crowding() -> None:
    # In order (1, 5), (2, 3), (3, 2), (4, 1), of spans 3 and 4.
    front = [(1.0, 5.0), (2.0, 3.0), (4.0, 1.0), (3.0, 2.0)]
    assert crowding(front) == [inf, pytest.approx(2 / 3 + 3 / 4), inf, pytest.approx(2 / 3 + 2 / 4)]
    assert crowding([(1.0, inf), (2.0, inf), (3.0, inf)]) == [inf, 1.0, inf]
    assert crowding([(1.0, 1.0)]) == [0.0]


def test_order_is_front_then_least_crowded() -> None:
    assert nsga2_order(POINTS) == [0, 2, 1, 5, 3, 4]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_fronts_by_brute_force(points: list[tuple[float, ...]]) -> None:
    """The depth of a point is the longest chain of points that dominate each other down to it."""

    def above(one: Sequence[float], other: Sequence[float]) -> bool:
        return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)

    def depth(point: Sequence[float]) -> int:
        return max((1 + depth(other) for other in points if above(other, point)), default=0)

    expected = [depth(point) for point in points]
    found = {index: place for place, front in enumerate(fronts(points)) for index in front}
    assert [found[index] for index in range(len(points))] == expected


def test_parents_are_the_front_and_costs_count() -> None:
    config = StrategyConfig(name="pareto", population=4, parents=2, children=1)
    strategy = make_strategy(Space(layers=1), 0, config)
    proposals = [strategy.ask() for _ in range(strategy.independent())]
    figures = [(-3.0, 10.0), (-2.0, 20.0), (-2.5, 30.0), (-9.0, 40.0)]
    for proposal, (score, parameters) in zip(proposals, figures, strict=True):
        outcome = Outcome(Status.COMPLETE, score, metrics={"parameters": parameters})
        strategy.tell(Trial(proposal, outcome))
    assert [strategy.ask().parent, strategy.ask().parent] == [0, 1]


def test_new_scores_change_the_order() -> None:
    config = StrategyConfig(name="pareto", population=3, parents=1, children=1, objectives=("score",))
    strategy = make_strategy(Space(layers=1), 0, config)
    for score in (1.0, 2.0, 3.0):
        strategy.tell(Trial(strategy.ask(), Outcome(Status.COMPLETE, score)))
    assert [t.proposal.number for t in strategy.contenders()] == [2, 1]
    strategy.rescore({2: 0.0, 1: 2.5})
    assert strategy.ask().parent == 1
