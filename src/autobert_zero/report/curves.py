"""Runs that differ in their seed only, taken together: means with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf, sqrt
from statistics import fmean, stdev
from typing import Any

from autobert_zero.report.runs import Run
from autobert_zero.search.trial import Trial

_T = (
    *(
        12.706,
        4.303,
        3.182,
        2.776,
        2.571,
        2.447,
        2.365,
        2.306,
        2.262,
        2.228,
        2.201,
        2.179,
        2.160,
        2.145,
        2.131,
    ),
    *(
        2.120,
        2.110,
        2.101,
        2.093,
        2.086,
        2.080,
        2.074,
        2.069,
        2.064,
        2.060,
        2.056,
        2.052,
        2.048,
        2.045,
        2.042,
    ),
)
"""Student's t at 97.5 %, for 1, 2, ... 30 degrees of freedom."""

_POINTS = 400
"""Most points of a curve."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval by Student's t.

    Attributes:
        mean: Of the values.
        half: Half the width of the interval; None with less than two values.
    """

    mean: float
    half: float | None


def interval(values: Sequence[float]) -> Interval:
    """The mean of at least one value, and how far off it may be."""
    if len(values) < 2:
        return Interval(fmean(values), None)
    t = _T[min(len(values) - 1, len(_T)) - 1]
    return Interval(fmean(values), t * stdev(values) / sqrt(len(values)))


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed.

    Attributes:
        label: The settings in which they differ from other groups, or the name of a single run.
        runs: Their indices.
        finals: For each model of the comparison the loss on hold-out text, in nats, over the finished runs.
        leads: For each opponent its loss over that of the found backbone, run by run.
        counts: Numbers of candidates at which the curve is given, up to the shortest run.
        curve: The best score so far at each of them.
    """

    label: str
    runs: list[int]
    finals: dict[str, Interval]
    leads: dict[str, Interval]
    counts: list[int]
    curve: list[Interval]


def best_so_far(trials: Sequence[Trial]) -> list[float]:
    """The best first score among the first 1, 2, ... trials; minus infinity before there is one."""
    scores = [-inf if trial.outcome.score is None else trial.outcome.score for trial in trials]
    return list(accumulate(scores, max))


def group(runs: Sequence[Run]) -> list[Group]:
    """Puts runs of equal config, seed apart, together; a run without a config is alone."""
    flat = [_flat(run.config.model_dump(mode="json")) if run.config else None for run in runs]
    known = [settings for settings in flat if settings is not None]
    keys = known[0].keys() if known else ()
    differing = [key for key in keys if key != "seed" and len({str(each[key]) for each in known}) > 1]
    members: dict[str, list[int]] = {}
    for index, settings in enumerate(flat):
        if settings is None or len(runs) == 1:
            label = runs[index].name
        else:
            label = ", ".join(f"{key}={settings[key]}" for key in differing) or "all runs"
        members.setdefault(label, []).append(index)
    return [_group(label, indices, runs) for label, indices in members.items()]


def _group(label: str, indices: list[int], runs: Sequence[Run]) -> Group:
    losses: dict[str, list[float]] = {}
    leads: dict[str, list[float]] = {}
    for index in indices:
        found = _loss(runs[index].finals.get("best"))
        for name, row in runs[index].finals.items():
            loss = _loss(row)
            if loss is not None:
                losses.setdefault(name, []).append(loss)
                if name != "best" and found is not None:
                    leads.setdefault(name, []).append(loss - found)
    curves = [best_so_far(runs[index].trials) for index in indices]
    shortest = min(map(len, curves))
    columns = min(_POINTS, shortest)
    counts = [round((column + 1) * shortest / columns) for column in range(columns)]
    counts = [count for count in counts if all(curve[count - 1] > -inf for curve in curves)]
    return Group(
        label=label,
        runs=indices,
        finals={name: interval(values) for name, values in losses.items()},
        leads={name: interval(values) for name, values in leads.items()},
        counts=counts,
        curve=[interval([curve[count - 1] for curve in curves]) for count in counts],
    )


def _loss(row: Mapping[str, Any] | None) -> float | None:
    loss = row.get("val_loss") if row else None
    return loss if isinstance(loss, float | int) else None


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
