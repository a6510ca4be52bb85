"""Which class a file means, in all the ways in which files write one."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.finetune.texts.labels import ClassNumber, class_number, exact_number, finite_value

STARS = ["1", "2", "3", "4", "5"]
TOPICS = ["sport", "art", "film"]
NO_TOPICS: list[Any] = ["Art", "art ", "", "music", None, [], {}, True, float("nan")]


@pytest.mark.parametrize(
    ("names", "value", "number"),
    [
        # Numbers that are names: never places.
        *((STARS, value, 0) for value in (1, 1.0, "1", "1.0", " 1 ", "01", "1e0", Decimal(1).__int__())),
        *((STARS, value, 4) for value in (5, 5.0, "5", "5.0")),
        *((STARS, value, None) for value in (0, 0.0, "0", 6, 1.5, -1, "-0")),
        (["2", "1"], 1, 1),
        (["2", "1"], 0, None),
        (["1.0", "2.0"], 1, 0),
        (["1.0", "2.0"], "2", 1),
        (["-1", "1"], -1.0, 0),
        (["0", "1", "unknown"], 2, None),
        (["0", "1", "unknown"], "unknown", 2),
        # Two names of one number: only the text tells them apart.
        (["1", "01"], "01", 1),
        (["1", "01"], "1", 0),
        (["1", "01"], 1.0, None),
        # Not rounded: these two differ by one.
        (["9007199254740992", "9007199254740993"], 9007199254740993, 1),
        # Words.
        (TOPICS, "art", 1),
        *((TOPICS, value, None) for value in NO_TOPICS),
        # Booleans.
        *((["no", "yes"], value, None) for value in (True, False, "true")),
        *((["false", "true"], value, 1) for value in (True, "true", "True", "TRUE")),
        *((["True", "False"], value, 1) for value in (False, "false", "False")),
        (["false", "true"], 3, None),
        *((["0", "1"], value, None) for value in (True, False)),
    ],
)
def test_names(names: list[str], value: Any, number: int | None) -> None:
    assert class_number(names, value) == (None if number is None else ClassNumber(number))


@pytest.mark.parametrize(
    ("value", "number"),
    [(0, 0), (2, 2), (1.0, 1), ("2", 2), ("1.0", 1), (3, None), (-1, None), (0.5, None), ("1_0", None)],
)
def test_places_where_no_name_is_a_number(value: Any, number: int | None) -> None:
    expected = None if number is None else ClassNumber(number, counted=True)
    assert class_number(TOPICS, value) == expected


@pytest.mark.parametrize("value", ["1e999999", "-1e999999", float("inf"), 10**400])
def test_numbers_beyond_all_places(value: Any) -> None:
    assert class_number(TOPICS, value) is None
    assert finite_value(value) is None


@given(st.lists(st.integers(-20, 20), min_size=2, unique=True), st.data())
def test_a_number_finds_its_own_name(numbers: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(numbers) - 1))
    names = [str(number) for number in numbers]
    for value in (numbers[place], float(numbers[place]), str(numbers[place]), f"{numbers[place]}.0"):
        assert class_number(names, value) == ClassNumber(place)


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), ("3.5", 3.5), (" -1e-3", -1e-3), ("3,5", None), (True, None), ("", None), (None, None)],
)
def test_values_of_a_regression(value: Any, number: float | None) -> None:
    assert finite_value(value) == number


def test_numbers_are_not_rounded() -> None:
    assert exact_number("0.1") == Decimal("0.1")
    assert exact_number("nan") is None
