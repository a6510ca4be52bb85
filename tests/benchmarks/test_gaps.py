"""Paired gaps with Holm's correction: tables worked out by hand."""

import pytest


def known(value: float | None) -> float:
    """A number that gaps of several values have."""
    assert value is not None
    return value


def test_one_opponent_by_hand() -> None:
    """Mean 0.03, deviation 0.01 over four seeds: t = 6, the 97.5 % quantile of t(3) is 3.1824."""
    from truth.gaps import gaps

    gap = gaps({"bert": [0.02, 0.02, 0.04, 0.04]})["bert"]
    error = 0.0115470 / 2
    assert gap.mean == pytest.approx(0.03)
    assert (known(gap.low), known(gap.high)) == pytest.approx(
        (0.03 - 3.182446 * error, 0.03 + 3.182446 * error), abs=1e-6
    )
    assert known(gap.p) == pytest.approx(0.0138, abs=1e-4)  # t = 5.196, 3 degrees of freedom
    assert gap.seeds == 4


def test_holms_correction_by_hand() -> None:
    """Three opponents: the smallest p is multiplied by 3, the second by 2, the last by 1, and none falls."""
    from truth.gaps import gaps

    differences = {
        "level": [0.01, -0.01, 0.02, -0.01, 0.0],
        "far": [0.5, 0.51, 0.49, 0.5, 0.52],
        "near": [0.03, 0.05, 0.02, 0.06, 0.04],
    }
    raw = {name: gaps({name: values})[name] for name, values in differences.items()}
    found = gaps(differences)
    for name, factor in (("far", 3), ("near", 2), ("level", 1)):
        assert known(found[name].p) == pytest.approx(factor * known(raw[name].p))
        assert found[name].mean == raw[name].mean
    assert known(found["far"].high) - known(found["far"].low) > known(raw["far"].high) - known(raw["far"].low)
    assert known(found["level"].high) == known(raw["level"].high)
    assert known(found["near"].low) > 0 > known(found["level"].low)


def test_an_interval_excludes_0_exactly_where_the_method_rejects() -> None:
    """Alone each of them would be significant at 0.05; of four, none has p below 0.0125, so none is."""
    from truth.gaps import gaps

    values = [0.01, 0.05, 0.03, 0.02, 0.02]  # t = 3.83, p = 0.019
    assert known(gaps({"one": values})["one"].low) > 0
    four = gaps(dict.fromkeys("abcd", values))
    assert all(known(gap.low) < 0 < known(gap.high) and known(gap.p) > 0.05 for gap in four.values())


def test_too_few_seeds_have_no_interval_and_do_not_count() -> None:
    from truth.gaps import gaps

    values = [0.02, 0.02, 0.04, 0.04]
    found = gaps({"once": [0.7], "never": [], "four": values})
    assert found.keys() == {"once", "four"}
    assert (found["once"].mean, found["once"].low, found["once"].p) == (0.7, None, None)
    assert found["four"] == gaps({"four": values})["four"]


def test_equal_differences() -> None:
    from truth.gaps import gaps

    assert gaps({"same": [0.0, 0.0]})["same"].p == 1
    always = gaps({"always": [0.1, 0.1]})["always"]
    assert (always.low, always.high, always.p) == pytest.approx((0.1, 0.1, 0))


def test_a_figure_at_equal_loss() -> None:
    from truth.gaps import at_equal_loss

    readings = [(5.0, 0.9), (4.0, 0.5), (3.0, 0.3)]
    assert at_equal_loss(readings, 4.25) == pytest.approx(0.6)
    assert at_equal_loss(readings[::-1], 3.0) == pytest.approx(0.3)
    assert at_equal_loss(readings, 2.9) is None
    assert at_equal_loss([], 4.0) is None
