"""Scores of backbones judged by the truth: pure functions of numbers."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from autobert_zero.search_runs.rank_correlation import correlation

RESOLUTION = 2
"""Decimals of a loss that count: on the plateau of unigram statistics the rest ranks noise."""


@dataclass(frozen=True)
class Scores:
    """What a proxy says of backbones.

    Attributes:
        values: One for each; higher is better, -inf where it has none.
        seconds: That a backbone takes, on average.
    """

    values: tuple[float, ...]
    seconds: float


def as_score(loss: float | None) -> float:
    """The negative loss, as it counts; -inf where the training diverged."""
    return -inf if loss is None else -round(loss, RESOLUTION)


def halves(groups: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Places of two halves in which each group has the same share, but for one."""
    order = sorted(range(len(groups)), key=lambda place: (str(groups[place]), place))
    return sorted(order[::2]), sorted(order[1::2])


def agreement(values: Sequence[float], truth: Sequence[float], groups: Sequence[Hashable]) -> dict[str, Any]:
    """Kendall's tau with the truth over all and within groups, each with its 95 % interval."""
    found: dict[str, Any] = {}
    for key, within in (("kendall_tau", None), ("kendall_tau_within", groups)):
        tau = correlation(values, truth, within)
        found[key] = tau and round(tau.tau, 3)
        found[f"{key}_interval"] = tau and [round(tau.low, 3), round(tau.high, 3)]
    return found


def compare(ways: Mapping[str, Scores], truth: Sequence[float], groups: Sequence[Hashable]) -> dict[str, Any]:
    """Chooses a proxy on half of the backbones, and confirms it on the other half.

    The chosen one has the highest sum of tau over all and within groups; among equal ones the cheapest.

    Returns:
        Under the names of `agreement`, what the chosen one has on the half that it was not chosen on; its
        `seconds_per_candidate`; and under `ways` each on all backbones and on the half that chooses.
    """
    choosing, confirming = halves(groups)

    def on(values: Sequence[float], places: Sequence[int]) -> dict[str, Any]:
        chosen = [groups[place] for place in places]
        return agreement([values[place] for place in places], [truth[place] for place in places], chosen)

    every = list(range(len(truth)))
    rows = {
        name: {
            "seconds_per_candidate": round(way.seconds, 3),
            **on(way.values, every),
            "choosing_half": on(way.values, choosing),
        }
        for name, way in ways.items()
    }

    def merit(name: str) -> tuple[float, float]:
        half = rows[name]["choosing_half"]
        return sum(half[key] or 0.0 for key in ("kendall_tau", "kendall_tau_within")), -ways[name].seconds

    best = max(ways, key=merit)
    confirmed = on(ways[best].values, confirming)
    return {
        "chosen": best,
        **confirmed,
        "seconds_per_candidate": rows[best]["seconds_per_candidate"],
        "confirmed_on": len(confirming),
        "ways": rows,
    }


def halving(
    scores: Sequence[Sequence[float]], cost: Sequence[float], groups: Sequence[Hashable] | None = None
) -> Scores:
    """Successive halving among all: the better half goes on from rung to rung.

    Args:
        scores: Of each backbone after each rung.
        cost: Seconds from the start to each rung, of an average backbone.
        groups: The best of each group goes on too; None: only the better half.

    Returns:
        Values that rank by the last rung reached, then by the score there.
    """
    alive = set(range(len(scores)))
    places, seconds = [0.0] * len(scores), 0.0
    for rung in range(len(cost)):
        seconds += len(alive) * (cost[rung] - (cost[rung - 1] if rung else 0.0))
        levels = sorted({scores[each][rung] for each in alive})
        for each in alive:
            places[each] = rung * len(scores) + levels.index(scores[each][rung])
        order = sorted(alive, key=lambda each: -scores[each][rung])
        promoted = set(order[: -(-len(order) // 2)])
        for group in set(groups or ()):
            members = [each for each in order if groups is not None and groups[each] == group]
            promoted |= set(members[:1])
        alive = promoted
    return Scores(tuple(places), seconds / len(scores))


def extrapolated(tokens: Sequence[float], losses: Sequence[float], horizon: float) -> float:
    """The loss at a horizon by a fit of E + A D^-a (Kaplan et al. 2020, Hoffmann et al. 2022) over rungs.

    Args:
        tokens: D of each rung; at least four.
        losses: After each.
        horizon: D of the result, in the same unit.
    """
    unit = np.asarray(tokens) / tokens[-1]

    def curve(d: Any, floor: float, scale: float, power: float) -> Any:
        return floor + scale * d**-power

    start = (0.5 * losses[-1], 0.5 * losses[-1], 0.1)
    bounds = ([0.0, 0.0, 0.01], [max(losses), max(losses), 1.5])
    try:
        found, _ = curve_fit(curve, unit, losses, start, bounds=bounds, max_nfev=10_000)
    except RuntimeError:  # no fit: the last loss is all that is known
        return float(losses[-1])
    return float(curve(horizon / tokens[-1], *found))
