"""How proxies are judged: tables worked out by hand."""

from math import inf

import pytest


def test_halves_share_each_group() -> None:
    from truth.judging import halves

    groups = [0, 0, 0, 0, 1, 1, 2]
    one, other = halves(groups)
    assert sorted([*one, *other]) == list(range(7))
    assert sorted(groups[place] for place in one) == [0, 0, 1, 2]
    assert sorted(groups[place] for place in other) == [0, 0, 1]
    assert halves(groups) == (one, other)


def test_losses_count_to_a_hundredth() -> None:
    from truth.judging import as_score

    assert as_score(5.972) == as_score(5.969)
    assert as_score(None) == -inf < as_score(9.0)


def test_the_better_half_goes_on() -> None:
    """Of five, 1, 3 and 4 go on after the first rung; of those 3 and 4 after the second.

    All pay the first rung (10 s), three the second (20 s more), two the third (40 s more): 50 + 60 + 80 s.
    """
    from truth.judging import halving

    scores = [[-5, -1, -1], [-3, -4, -1], [-6, -1, -1], [-2, -3, -3], [-1, -2, -4]]
    found = halving(scores, [10, 30, 70])
    assert sorted(range(5), key=found.values.__getitem__) == [2, 0, 1, 4, 3]
    assert found.seconds == pytest.approx(190 / 5)


def test_the_best_of_each_group_goes_on_too() -> None:
    from truth.judging import halving

    scores = [[-1.0, -3.0], [-2.0, -2.5], [-8.0, -1.0], [-9.0, -1.0]]
    groups = ["conv", "conv", "attention", "attention"]
    kept = halving(scores, [1, 2], groups)
    assert max(range(4), key=kept.values.__getitem__) == 2
    assert max(range(4), key=halving(scores, [1, 2]).values.__getitem__) == 1


def test_those_with_equal_scores_stay_equal() -> None:
    from truth.judging import halving

    values = halving([[-1.0], [-2.0], [-2.0], [-inf]], [1.0]).values
    assert values[1] == values[2]
    assert sorted(set(values), reverse=True) == [values[0], values[1], values[3]]


@pytest.mark.parametrize("power", [0.1, 0.4, 1.0])
def test_a_power_law_is_extrapolated(power: float) -> None:
    from truth.judging import extrapolated

    def loss(tokens: float) -> float:
        return 3.0 + 2.0 * (tokens / 1e6) ** -power

    tokens = [1.25e5, 2.5e5, 5e5, 1e6]
    assert extrapolated(tokens, list(map(loss, tokens)), 1e7) == pytest.approx(loss(1e7), abs=0.02)


def test_a_plateau_stays_where_it_is() -> None:
    from truth.judging import extrapolated

    assert extrapolated([1, 2, 4, 8], [5.97] * 4, 80) == pytest.approx(5.97, abs=0.02)


def test_the_chosen_way_is_judged_on_the_other_half() -> None:
    """One way is right on the half that chooses and wrong on the other, one the other way round."""
    from truth.judging import Scores, compare, halves

    truth, groups = [float(place) for place in range(12)], [0, 1] * 6
    choosing, _ = halves(groups)
    lucky = Scores(tuple(value if place in choosing else -value for place, value in enumerate(truth)), 2.0)
    unlucky = Scores(tuple(-value for value in lucky.values), 1.0)
    found = compare({"unlucky": unlucky, "lucky": lucky}, truth, groups)
    assert found["chosen"] == "lucky"
    assert found["ways"]["lucky"]["choosing_half"]["kendall_tau"] == 1
    assert found["kendall_tau"] == -1
    assert found["kendall_tau_within"] == -1
    assert found["seconds_per_candidate"] == 2.0
    assert found["confirmed_on"] == 6


def test_of_equal_ways_the_cheaper_is_chosen() -> None:
    from truth.judging import Scores, compare

    values = tuple(float(place) for place in range(8))
    ways = {"dear": Scores(values, 9.0), "cheap": Scores(values, 1.0), "constant": Scores((0.0,) * 8, 0.1)}
    found = compare(ways, values, [0] * 8)
    assert found["chosen"] == "cheap"
    assert found["ways"]["constant"]["kendall_tau"] is None
