"""Agreement of two rankings of the same candidates: Kendall's tau, over all and within groups."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from random import Random

import numpy as np
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
    """Kendall's tau with its bootstrap interval; None if there is nothing to rank.

    Args:
        one: Scores of the candidates.
        other: Other scores of the same candidates, in the same order.
        groups: Group of each candidate, if only pairs within a group are compared; None: all pairs are.
    """
    a, b = _signs(one, groups), _signs(other, groups)
    overall = _tau(a, b)
    if isnan(overall):
        return None
    random, indices = Random(0), range(len(one))
    taus: list[float] = []
    while len(taus) < _RESAMPLES:
        resample = random.choices(indices, k=len(one))
        pairs = np.ix_(resample, resample)
        tau = _tau(a[pairs], b[pairs])
        if not isnan(tau):
            taus.append(tau)
    taus.sort()
    return Correlation(overall, taus[round(0.025 * _RESAMPLES)], taus[round(0.975 * _RESAMPLES) - 1])


def kendall_tau(
    one: Sequence[float], other: Sequence[float], groups: Sequence[Hashable] | None = None
) -> float:
    """Kendall's tau-b, over all pairs or over those within a group; NaN if there is nothing to rank.

    Concordant minus discordant pairs, divided by the geometric mean of the numbers of pairs without ties.
    SciPy's version has no groups, and is too slow for resampling.
    """
    return _tau(_signs(one, groups), _signs(other, groups))


def _tau(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    scale = sqrt(float(np.abs(a).sum()) * float(np.abs(b).sum()))
    return float((a * b).sum()) / scale if scale else nan


def _signs(values: Sequence[float], groups: Sequence[Hashable] | None) -> NDArray[np.int64]:
    """Sign of the difference of each two candidates (N, N); 0 in different groups.

    Ranks are compared, for infinite values have no difference.
    """
    ranks = np.unique(np.asarray(values, dtype=float), return_inverse=True)[1].astype(np.int64)  # (N,)
    signs: NDArray[np.int64] = np.sign(ranks[:, None] - ranks)
    if groups is None:
        return signs
    same = np.array([[one == other for other in groups] for one in groups])  # (N, N)
    return np.where(same, signs, 0)
