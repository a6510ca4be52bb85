"""Agreement of proxies with the truth, against tables worked out by hand."""

from math import inf

import pytest


def test_halves_share_each_group() -> None:
    from truth.proxy_agreement import stratified_halves

    groups = [0, 0, 0, 0, 1, 1, 2]
    one, other = stratified_halves(groups)
    assert sorted([*one, *other]) == list(range(7))
    assert sorted(groups[index] for index in one) == [0, 0, 1, 2]
    assert sorted(groups[index] for index in other) == [0, 0, 1]
    assert stratified_halves(groups) == (one, other)


def test_losses_count_to_a_hundredth() -> None:
    from truth.proxy_agreement import as_score

    assert as_score(5.972) == as_score(5.969)
    assert as_score(None) == -inf < as_score(9.0)


def test_the_better_half_goes_on() -> None:
    """Of five, 1, 3 and 4 go on after the first rung; of those 3 and 4 after the second.

    All pay the first rung (10 s), three the second (20 s more), two the third (40 s more): 50 + 60 + 80 s.
    """
    from truth.proxy_agreement import successive_halving

    scores = [[-5, -1, -1], [-3, -4, -1], [-6, -1, -1], [-2, -3, -3], [-1, -2, -4]]
    result = successive_halving(scores, [10, 30, 70])
    assert sorted(range(5), key=result.values.__getitem__) == [2, 0, 1, 4, 3]
    assert result.seconds == pytest.approx(190 / 5)


def test_the_best_of_each_group_goes_on_too() -> None:
    from truth.proxy_agreement import successive_halving

    scores = [[-1.0, -3.0], [-2.0, -2.5], [-8.0, -1.0], [-9.0, -1.0]]
    groups = ["conv", "conv", "attention", "attention"]
    result = successive_halving(scores, [1, 2], groups)
    assert max(range(4), key=result.values.__getitem__) == 2
    assert max(range(4), key=successive_halving(scores, [1, 2]).values.__getitem__) == 1


def test_those_with_equal_scores_stay_equal() -> None:
    from truth.proxy_agreement import successive_halving

    values = successive_halving([[-1.0], [-2.0], [-2.0], [-inf]], [1.0]).values
    assert values[1] == values[2]
    assert sorted(set(values), reverse=True) == [values[0], values[1], values[3]]


@pytest.mark.parametrize("power", [0.1, 0.4, 1.0])
def test_a_power_law_is_extrapolated(power: float) -> None:
    from truth.proxy_agreement import extrapolate_loss

    def loss(tokens: float) -> float:
        return 3.0 + 2.0 * (tokens / 1e6) ** -power

    tokens = [1.25e5, 2.5e5, 5e5, 1e6]
    assert extrapolate_loss(tokens, list(map(loss, tokens)), 1e7) == pytest.approx(loss(1e7), abs=0.02)


def test_a_plateau_stays_where_it_is() -> None:
    from truth.proxy_agreement import extrapolate_loss

    assert extrapolate_loss([1, 2, 4, 8], [5.97] * 4, 80) == pytest.approx(5.97, abs=0.02)


def test_the_chosen_proxy_is_confirmed_on_the_other_half() -> None:
    """One proxy is right on the choosing half and wrong on the other, one the other way round."""
    from truth.proxy_agreement import ProxyScores, choose_proxy, stratified_halves

    truth, groups = [float(index) for index in range(12)], [0, 1] * 6
    choosing, _ = stratified_halves(groups)
    lucky = ProxyScores(
        tuple(value if index in choosing else -value for index, value in enumerate(truth)), 2.0
    )
    unlucky = ProxyScores(tuple(-value for value in lucky.values), 1.0)
    result = choose_proxy({"unlucky": unlucky, "lucky": lucky}, truth, groups)
    assert result["chosen"] == "lucky"
    assert result["ways"]["lucky"]["choosing_half"]["kendall_tau"] == 1
    assert result["kendall_tau"] == -1
    assert result["kendall_tau_within"] == -1
    assert result["seconds_per_candidate"] == 2.0
    assert result["confirmed_on"] == 6


def test_of_equal_proxies_the_cheapest_is_chosen() -> None:
    from truth.proxy_agreement import ProxyScores, choose_proxy

    values = tuple(float(index) for index in range(8))
    proxies = {
        "dear": ProxyScores(values, 9.0),
        "cheap": ProxyScores(values, 1.0),
        "constant": ProxyScores((0.0,) * 8, 0.1),
    }
    result = choose_proxy(proxies, values, [0] * 8)
    assert result["chosen"] == "cheap"
    assert result["ways"]["constant"]["kendall_tau"] is None
