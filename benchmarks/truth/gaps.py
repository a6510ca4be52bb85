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
    """The lead of the winner over an opponent, over paired seeds.

    Attributes:
        mean: Mean difference; positive where the winner is better.
        low: Lower end of the interval, corrected for the number of opponents; None with fewer than two seeds.
        high: Upper end of the interval.
        p: Two-sided p-value of Student's paired t-test, corrected by Holm's method.
        seeds: Number of pairs.
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
        differences: The winner's lead at each paired seed, by opponent.
    """
    tested = {name: values for name, values in differences.items() if len(values) > 1}
    p_values = {name: _p_value(values) for name, values in tested.items()}
    order = sorted(p_values, key=p_values.__getitem__)
    result = {
        name: Gap(fmean(values), None, None, None, len(values))
        for name, values in differences.items()
        if values
    }
    divisor, corrected, rejecting = len(order), 0.0, True
    for index, name in enumerate(order):
        if rejecting:
            divisor = len(order) - index
        corrected = max(corrected, min(p_values[name] * (len(order) - index), 1.0))
        rejecting = rejecting and p_values[name] <= ALPHA / divisor
        values = tested[name]
        half = (
            float(student.ppf(1 - ALPHA / divisor / 2, len(values) - 1)) * stdev(values) / sqrt(len(values))
        )
        mean = fmean(values)
        result[name] = Gap(mean, mean - half, mean + half, corrected, len(values))
    return result


def _p_value(values: Sequence[float]) -> float:
    """Two-sided p-value of Student's t-test that the mean is 0; 0 or 1 where all values are equal."""
    spread = stdev(values)
    if not spread:
        return float(fmean(values) == 0)
    statistic = fmean(values) / (spread / sqrt(len(values)))
    return float(2 * student.sf(abs(statistic), len(values) - 1))


def at_equal_loss(readings: Sequence[tuple[float, float]], loss: float) -> float | None:
    """Interpolates a figure of a training linearly at a loss; None if no two marks enclose that loss.

    Args:
        readings: Loss and figure at each mark.
        loss: Loss at which to interpolate.
    """
    rows = sorted(readings)
    if not rows or not rows[0][0] <= loss <= rows[-1][0]:
        return None
    losses, figures = zip(*rows, strict=True)
    return float(np.interp(loss, losses, figures))
