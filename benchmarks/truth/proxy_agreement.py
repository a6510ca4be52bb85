"""Agreement of proxies with the truth, and proxies computed from losses: pure functions of numbers."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from autobert_zero.search_runs.rank_correlation import correlation

RESOLUTION = 2
"""Decimals to which losses are compared: on the plateau of unigram statistics the rest ranks noise."""


@dataclass(frozen=True)
class ProxyScores:
    """The scores that a proxy gives to backbones.

    Attributes:
        values: One score per backbone; higher is better, -inf where the proxy gives none.
        seconds: Mean cost of a backbone.
    """

    values: tuple[float, ...]
    seconds: float


def as_score(loss: float | None) -> float:
    """The negative loss, rounded to `RESOLUTION`; -inf where the training diverged."""
    return -inf if loss is None else -round(loss, RESOLUTION)


def stratified_halves(groups: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Indices of two halves that hold equally many members of each group, plus or minus one."""
    order = sorted(range(len(groups)), key=lambda index: (str(groups[index]), index))
    return sorted(order[::2]), sorted(order[1::2])


def agreement(values: Sequence[float], truth: Sequence[float], groups: Sequence[Hashable]) -> dict[str, Any]:
    """Kendall's tau with the truth over all and within groups, each with its 95 % interval."""
    result: dict[str, Any] = {}
    for key, within in (("kendall_tau", None), ("kendall_tau_within", groups)):
        tau = correlation(values, truth, within)
        result[key] = tau and round(tau.tau, 3)
        result[f"{key}_interval"] = tau and [round(tau.low, 3), round(tau.high, 3)]
    return result


def choose_proxy(
    proxies: Mapping[str, ProxyScores], truth: Sequence[float], groups: Sequence[Hashable]
) -> dict[str, Any]:
    """Chooses a proxy on half of the backbones, and confirms it on the other half.

    The highest sum of tau over all and tau within groups wins, among equal ones the cheapest proxy.

    Args:
        proxies: Scores of the backbones by proxy.
        truth: Score of each backbone in the table of truth.
        groups: Group of each backbone.

    Returns:
        Under the keys of `agreement`, the agreement of the chosen proxy on the confirming half; its
        `seconds_per_candidate`; under `ways` the agreement of every proxy on all backbones and on the
        choosing half.
    """
    choosing, confirming = stratified_halves(groups)

    def agreement_on(values: Sequence[float], subset: Sequence[int]) -> dict[str, Any]:
        return agreement(
            [values[index] for index in subset],
            [truth[index] for index in subset],
            [groups[index] for index in subset],
        )

    rows = {
        name: {
            "seconds_per_candidate": round(scores.seconds, 3),
            **agreement(scores.values, truth, groups),
            "choosing_half": agreement_on(scores.values, choosing),
        }
        for name, scores in proxies.items()
    }

    def merit(name: str) -> tuple[float, float]:
        half = rows[name]["choosing_half"]
        tau = sum(half[key] or 0.0 for key in ("kendall_tau", "kendall_tau_within"))
        return tau, -proxies[name].seconds

    best = max(proxies, key=merit)
    confirmed = agreement_on(proxies[best].values, confirming)
    return {
        "chosen": best,
        **confirmed,
        "seconds_per_candidate": rows[best]["seconds_per_candidate"],
        "confirmed_on": len(confirming),
        "ways": rows,
    }


def successive_halving(
    scores: Sequence[Sequence[float]], cost: Sequence[float], groups: Sequence[Hashable] | None = None
) -> ProxyScores:
    """Successive halving: the better half of the backbones is promoted from rung to rung.

    Args:
        scores: Scores of each backbone at each rung.
        cost: Mean seconds of a backbone from the start to each rung.
        groups: Group of each backbone, whose best member is promoted too; None: only the better half is.

    Returns:
        Values that rank by the last rung reached, then by the score there.
    """
    alive = set(range(len(scores)))
    ranks, seconds = [0.0] * len(scores), 0.0
    for rung in range(len(cost)):
        seconds += len(alive) * (cost[rung] - (cost[rung - 1] if rung else 0.0))
        levels = sorted({scores[index][rung] for index in alive})
        for index in alive:
            ranks[index] = rung * len(scores) + levels.index(scores[index][rung])
        order = sorted(alive, key=lambda index: -scores[index][rung])
        promoted = set(order[: -(-len(order) // 2)])
        for group in set(groups or ()):
            members = [index for index in order if groups is not None and groups[index] == group]
            promoted |= set(members[:1])
        alive = promoted
    return ProxyScores(tuple(ranks), seconds / len(scores))


def extrapolate_loss(tokens: Sequence[float], losses: Sequence[float], horizon: float) -> float:
    """The loss at a horizon by a fit of E + A D^-a (Kaplan et al. 2020, Hoffmann et al. 2022) over rungs.

    Args:
        tokens: Tokens D trained on up to each rung; at least four rungs.
        losses: Loss at each rung.
        horizon: Tokens D at which the loss is predicted.
    """
    unit = np.asarray(tokens) / tokens[-1]

    def curve(d: Any, floor: float, scale: float, power: float) -> Any:
        return floor + scale * d**-power

    initial = (0.5 * losses[-1], 0.5 * losses[-1], 0.1)
    bounds = ([0.0, 0.0, 0.01], [max(losses), max(losses), 1.5])
    try:
        fitted, _ = curve_fit(curve, unit, losses, initial, bounds=bounds, max_nfev=10_000)
    except RuntimeError:  # the fit did not converge; the last loss is the best estimate
        return float(losses[-1])
    return float(curve(horizon / tokens[-1], *fitted))
