"""Labels in files, as class numbers or as values of a regression."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(frozen=True)
class ClassNumber:
    """The class of an example.

    Attributes:
        number: Its index among the names.
        counted: Whether the file has this number instead of the name.
    """

    number: int
    counted: bool = False


def class_number(names: Sequence[str], value: Any) -> ClassNumber | None:
    """Finds a class by its name or, if no name is a number, by its number from 0.

    Files may write a name in several ways: 1, 1.0 and "1" mean the class named 1 (or 1.0), and true, True and
    "true" the class named true. If names are numbers, other numbers are no classes: stars from 1 to 5 must
    not be read as indices from 0 to 4.

    Args:
        names: Names of the classes, all different.
        value: Value of a cell or a JSON field.

    Returns:
        The class; None if the value is none of the classes.
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
        return _only([index for index, number in enumerate(numbers) if number == given])
    if 0 <= given < len(names) and given == int(given):
        return ClassNumber(int(given), counted=True)
    return None


def finite_value(value: Any) -> float | None:
    """The value of a regression; None if it is no finite number."""
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


def _only(numbers: list[int]) -> ClassNumber | None:
    return ClassNumber(numbers[0]) if len(numbers) == 1 else None
