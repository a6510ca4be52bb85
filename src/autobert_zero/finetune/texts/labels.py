"""From what a file says to the number of a class, or to the value of a regression."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(frozen=True)
class ClassNumber:
    """The class of an example.

    Attributes:
        number: Its place among the names, from 0.
        counted: The file gives this number, not the name.
    """

    number: int
    counted: bool = False


def class_number(names: Sequence[str], value: Any) -> ClassNumber | None:
    """Finds a class by its name or, where no name is a number, by its number from 0.

    Files write one name in several ways: 1, 1.0 and "1" are the class named 1 (or 1.0), and true, True and
    "true" the class named true. A number that is none of the names is no class where names are numbers: stars
    from 1 to 5 must not be taken for places from 0 to 4.

    Args:
        names: All different.
        value: Of a cell or a JSON field.

    Returns:
        None for a value that is none of the classes.
    """
    if isinstance(value, str) and value in names:
        return ClassNumber(names.index(value))
    if (word := _boolean(value)) is not None:
        return _only([number for number, name in enumerate(names) if _boolean(name) == word])
    given = exact_number(value)
    if given is None:
        return None
    numbers = [exact_number(name) for name in names]
    if any(number is not None for number in numbers):
        return _only([place for place, number in enumerate(numbers) if number == given])
    if 0 <= given < len(names) and given == int(given):
        return ClassNumber(int(given), counted=True)
    return None


def finite_value(value: Any) -> float | None:
    """The value of a regression; None for what is no finite number."""
    number = exact_number(value)
    if number is None or not math.isfinite(float(number)):
        return None
    return float(number)


def exact_number(value: Any) -> Decimal | None:
    """A finite number as written, without rounding; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).strip()
    try:
        number = Decimal(text)
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() and "_" not in text else None


def _boolean(value: Any) -> str | None:
    word = str(value).casefold()
    return word if isinstance(value, bool | str) and word in ("true", "false") else None


def _only(places: list[int]) -> ClassNumber | None:
    return ClassNumber(places[0]) if len(places) == 1 else None
