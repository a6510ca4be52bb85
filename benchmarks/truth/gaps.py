"""Paired differences between a winner and its opponents: pure functions of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

import numpy as np
from scipy.stats import t as student

ALPHA = 0.05


@dataclass(frozen=True)
class Gap:
    """How far the winner is ahead of an opponent, over paired seeds.

    Attributes:
        mean: Positive where the winner is better.
        low: Lower end of the interval, corrected for the number of opponents; None with less than two seeds.
        high: Upper end.
        p: Of Student's paired t, two-sided, corrected by Holm's method.
        seeds: How many pairs.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int


def gaps(differences: Mapping[str, Sequence[float]]) -> dict[str, Gap]:
    """The gap to each opponent, with Holm's correction over all that have two seeds or more.

    The interval of the opponent with the k-th smallest p of m has the confidence 1 - 0.05 / (m - k + 1), as
    Holm's method compares it; once one holds 0, those of larger p keep its confidence, so that an interval
    excludes 0 exactly where the method rejects.

    Args:
        differences: By opponent, for each paired seed how far the winner is ahead.
    """
    tested = {name: values for name, values in differences.items() if len(values) > 1}
    raw = {name: _p(values) for name, values in tested.items()}
    order = sorted(raw, key=raw.__getitem__)
    found = {
        name: Gap(fmean(values), None, None, None, len(values))
        for name, values in differences.items()
        if values
    }
    divisor, corrected, rejecting = len(order), 0.0, True
    for place, name in enumerate(order):
        if rejecting:
            divisor = len(order) - place
        corrected = max(corrected, min(raw[name] * (len(order) - place), 1.0))
        rejecting = rejecting and raw[name] <= ALPHA / divisor
        values = tested[name]
        half = (
            float(student.ppf(1 - ALPHA / divisor / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
        )
        mean = fmean(values)
        found[name] = Gap(mean, mean - half, mean + half, corrected, len(values))
    return found


def _p(values: Sequence[float]) -> float:
    """Of Student's t, two-sided, that the mean is 0; 0 or 1 where all values are the same."""
    spread = stdev(values)
    if not spread:
        return float(fmean(values) == 0)
    statistic = fmean(values) / (spread / sqrt(len(values)))
    return float(2 * student.sf(abs(statistic), len(values) - 1))


def at_equal_loss(readings: Sequence[tuple[float, float]], loss: float) -> float | None:
    """A figure of a training at a loss, between the marks in a straight line.

    Args:
        readings: Loss and figure at each mark.
        loss: Where it is wanted; None is returned where the training did not pass it.
    """
    rows = sorted(readings)
    if not rows or not rows[0][0] <= loss <= rows[-1][0]:
        return None
    losses, figures = zip(*rows, strict=True)
    return float(np.interp(loss, losses, figures))
