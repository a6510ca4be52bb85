"""Kendall's tau with its interval, over all pairs and within groups: figures by hand."""

import math

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.search_runs.rank_correlation import correlation, kendall_tau


def test_tau_by_hand() -> None:
    """Of the six pairs of 1 2 3 4 and 1 3 2 4 five agree and one does not."""
    found = correlation([1, 2, 3, 4], [1, 3, 2, 4])
    assert found is not None
    assert found.tau == pytest.approx(4 / 6)
    assert found.low < found.tau < found.high
    assert found == correlation([1, 2, 3, 4], [1, 3, 2, 4])


def test_the_interval_narrows_with_more_candidates() -> None:
    def width(count: int) -> float:
        found = correlation(range(count), [place + 3 * (place % 2) for place in range(count)])
        assert found is not None
        return found.high - found.low

    assert width(40) < width(10)
    same, reverse = correlation(range(30), range(30)), correlation(range(30), range(0, -30, -1))
    assert same is not None
    assert same.low == pytest.approx(1)
    assert reverse is not None
    assert reverse.tau == pytest.approx(-1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_tau_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    one, other = zip(*pairs, strict=True)
    expected = float(scipy.stats.kendalltau(one, other).statistic)
    assert kendall_tau(one, other) == pytest.approx(expected, nan_ok=True)


def test_tau_within_groups_by_hand() -> None:
    """Of a: 1-2 agrees, 1-3 agrees, 2-3 is tied in the second; of b: 1-2 disagrees; other pairs do not count.

    One pair more agrees than disagrees, over sqrt(4 * 3): the first tells four pairs apart, the second three.
    """
    one, other, groups = [1, 2, 3, 1, 2], [10, 20, 20, 99, 98], ["a", "a", "a", "b", "b"]
    assert kendall_tau(one, other, groups) == pytest.approx(1 / math.sqrt(12))
    assert kendall_tau(one, other, groups) != kendall_tau(one, other)
    assert kendall_tau(one, other, ["a"] * 5) == kendall_tau(one, other)


def test_what_diverged_ranks_last_within_its_group() -> None:
    assert kendall_tau([1, 2, 3, 4], [-math.inf, -2, -math.inf, -1], [0, 0, 1, 1]) == 1


@pytest.mark.parametrize(
    ("one", "other", "groups"),
    [([1, 2, 3], [5, 5, 5], None), ([1, 2, 3], [1, 2, 3], [0, 1, 2]), ([1], [1], None)],
    ids=["constant", "no pair in a group", "one candidate"],
)
def test_nothing_to_rank(one: list[float], other: list[float], groups: list[int] | None) -> None:
    assert correlation(one, other, groups) is None
    assert math.isnan(kendall_tau(one, other, groups))
