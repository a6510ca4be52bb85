"""Agreement of two rankings of the same candidates: Kendall's tau, over all and within groups."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from random import Random

import numpy as np
import scipy.stats
from numpy.typing import NDArray

_RESAMPLES = 2000


@dataclass(frozen=True)
class Correlation:
    """Agreement of two rankings.

    Attributes:
        tau: Kendall's tau-b: 1 the same order, 0 none in common, -1 the reverse.
        low: Lower end of a 95 % interval (bootstrap over candidates).
        high: Upper end.
    """

    tau: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.tau:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def correlation(
    one: Sequence[float], other: Sequence[float], groups: Sequence[Hashable] | None = None
) -> Correlation | None:
    """Kendall's tau with its bootstrap interval; None where there is nothing to rank.

    Args:
        one: Scores of candidates.
        other: Other scores of the same, in the same order.
        groups: Of each candidate, where only pairs within a group are compared; None: all pairs are.
    """
    random = Random(0)
    whole = kendall_tau(one, other, groups)
    if isnan(whole):
        return None
    rows = list(zip(one, other, groups or [None] * len(one), strict=True))
    taus: list[float] = []
    while len(taus) < _RESAMPLES:
        tau = kendall_tau(*zip(*random.choices(rows, k=len(rows)), strict=True))
        if not isnan(tau):
            taus.append(tau)
    taus.sort()
    return Correlation(whole, taus[round(0.025 * _RESAMPLES)], taus[round(0.975 * _RESAMPLES) - 1])


def kendall_tau(
    one: Sequence[float], other: Sequence[float], groups: Sequence[Hashable] | None = None
) -> float:
    """Kendall's tau-b, over all pairs or over those within a group; nan where there is nothing to rank.

    Within groups: concordant less discordant pairs, over the geometric mean of the pairs that each ranking
    tells apart.
    """
    if groups is None or len(set(groups)) == 1:
        return float(scipy.stats.kendalltau(one, other).statistic) if len(one) > 1 else nan
    numbers = np.unique([str(group) for group in groups], return_inverse=True)[1]
    first, second = np.triu_indices(len(numbers), 1)
    same = numbers[first] == numbers[second]
    a, b = (np.sign(_ranks(x)[first] - _ranks(x)[second])[same] for x in (one, other))
    scale = sqrt(float(np.abs(a).sum()) * float(np.abs(b).sum()))
    return float((a * b).sum()) / scale if scale else nan


def _ranks(values: Sequence[float]) -> NDArray[np.int64]:
    """Ranks, for infinite values have no difference."""
    return np.unique(np.asarray(values, dtype=float), return_inverse=True)[1].astype(np.int64)
