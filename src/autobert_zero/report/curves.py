"""Groups runs that differ in their seed only: means with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf, sqrt
from statistics import fmean, stdev
from typing import Any

from scipy.special import stdtrit

from autobert_zero.report.runs import Run
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.summary_text import noise
from autobert_zero.search.trial import Trial
from autobert_zero.settings import computing_settings

_UNCOUNTED = {"seed", *computing_settings(SearchConfig)}
"""Settings that distinguish neither groups nor comparisons."""

_MEASURED_BY = (
    "data.",
    "model.",
    "final.",
    "proxy.score",
    "proxy.validation_sequences",
    "proxy.tasks.",
    *("distil", "distil."),
)
"""Settings, and sections (with a dot), that decide what losses and scores mean."""

_NAMED = 3
"""Maximum number of settings in a label; tables have them all."""

_POINTS = 400
"""Maximum number of points of a curve."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval by Student's t.

    Attributes:
        mean: Mean of the values.
        half: Half the width of the interval; None with fewer than two values.
    """

    mean: float
    half: float | None


def interval(values: Sequence[float]) -> Interval:
    """The mean of one or more values, with its interval."""
    if len(values) < 2:
        return Interval(fmean(values), None)
    t = float(stdtrit(len(values) - 1, 0.975))
    return Interval(fmean(values), t * stdev(values) / sqrt(len(values)))


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed.

    Attributes:
        label: The settings in which they differ from other groups, or the name of a single run.
        runs: Indices of the runs.
        seeds: Number of different seeds among them. Figures are over one run of each: a run that repeats
            another says nothing about chance.
        finals: For each model of the comparison, the loss on held-out text, in nats, over the finished runs.
        leads: For each opponent, its loss minus that of the found backbone, run by run.
        counts: Numbers of candidates at which the curve is given, up to the shortest run.
        curve: The best score so far at each of those.
        distilled: Whether the losses are distances to a teacher, not nats.
        noise: Difference of two losses that is within the noise of one seed; 0 for distances to a teacher,
            where it is not known.
    """

    label: str
    runs: list[int]
    seeds: int
    finals: dict[str, Interval]
    leads: dict[str, Interval]
    counts: list[int]
    curve: list[Interval]
    distilled: bool
    noise: float


def best_so_far(trials: Sequence[Trial]) -> list[float]:
    """The best first score of the first 1, 2, ... trials; minus infinity before there is one."""
    scores = [-inf if trial.outcome.score is None else trial.outcome.score for trial in trials]
    return list(accumulate(scores, max))


@dataclass(frozen=True)
class Comparison:
    """Runs whose losses and scores can be compared: with the same text, sizes and training from scratch.

    Attributes:
        label: The settings in which it differs from other comparisons; empty if it is the only one.
        groups: The groups of runs.
    """

    label: str
    groups: list[Group]


def group_comparable(runs: Sequence[Run]) -> list[Comparison]:
    """Groups runs that can be compared and, in each comparison, those that differ in their seed only.

    A run without a config is a comparison of its own.
    """
    settings = _all_settings(runs)
    members: dict[str, list[int]] = {}
    for index, run_settings in enumerate(settings):
        key = (
            f"run {index}"
            if run_settings is None
            else str([run_settings[name] for name in sorted(run_settings) if _decides(name)])
        )
        members.setdefault(key, []).append(index)
    labels = _labels(runs, settings, list(members.values()), _decides) if len(members) > 1 else [""]
    return [
        Comparison(label, _groups(runs, settings, indices))
        for label, indices in zip(labels, members.values(), strict=True)
    ]


def differing_settings(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """The settings in which runs differ, with the value of each run; empty for a run without a config."""
    settings = _all_settings(runs)
    known = [run_settings for run_settings in settings if run_settings is not None]
    return [
        (name, ["" if run_settings is None else str(run_settings.get(name, "")) for run_settings in settings])
        for name in _differing(known)
    ]


def _groups(
    runs: Sequence[Run], settings: Sequence[Mapping[str, Any] | None], indices: Sequence[int]
) -> list[Group]:
    members: dict[str, list[int]] = {}
    for index in indices:
        run_settings = settings[index]
        key = (
            f"run {index}"
            if run_settings is None
            else str(sorted(run_settings.items(), key=lambda item: item[0]))
        )
        members.setdefault(key, []).append(index)
    labels = _labels(runs, settings, list(members.values()), lambda name: True)
    if len(members) == 1 and len(runs) > 1 and len(indices) > 1:
        labels = ["all runs"]
    return [_group(label, part, runs) for label, part in zip(labels, members.values(), strict=True)]


def _labels(
    runs: Sequence[Run],
    settings: Sequence[Mapping[str, Any] | None],
    members: Sequence[Sequence[int]],
    counts: Callable[[str], bool],
) -> list[str]:
    """Names parts by the settings in which they differ, if those are few, else by their runs."""
    first = [settings[indices[0]] for indices in members]
    known = [run_settings for run_settings in first if run_settings is not None]
    names = [name for name in _differing(known) if counts(name)]
    if 0 < len(names) <= _NAMED and len(known) == len(first):
        return [", ".join(f"{name}={_short(run_settings[name])}" for name in names) for run_settings in known]
    return [
        runs[indices[0]].name + (f" and {len(indices) - 1} more" if len(indices) > 1 else "")
        for indices in members
    ]


def _short(value: Any) -> str:
    """A value for a label: of a path, the end."""
    text = str(value)
    return text if len(text) <= 24 else f"…{text[-23:]}"


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for run_settings in settings for name in run_settings)
    return [name for name in names if len({str(run_settings.get(name)) for run_settings in settings}) > 1]


def _decides(name: str) -> bool:
    """Whether a setting decides what losses and scores mean."""
    return any(name == part or (part.endswith(".") and name.startswith(part)) for part in _MEASURED_BY)


def _all_settings(runs: Sequence[Run]) -> list[dict[str, Any] | None]:
    """The settings of each run by their dotted names; None without a config.

    Text and teacher count by their digests, whatever their names, if all runs have recorded them.
    """
    settings = [None if run.config is None else _settings(run.config) for run in runs]
    for name, digests in (
        ("data.corpus", [run.text for run in runs]),
        ("distil.teacher", [run.teacher for run in runs]),
    ):
        having = [
            (run_settings, digest)
            for run_settings, digest in zip(settings, digests, strict=True)
            if run_settings and name in run_settings
        ]
        if all(digest for _, digest in having):
            names: dict[str, str] = {}
            for run_settings, digest in having:
                run_settings[name] = names.setdefault(digest, f"{run_settings[name]} ({digest[:12]})")
    return settings


def _settings(config: SearchConfig) -> dict[str, Any]:
    flat = _flat(config.model_dump(mode="json"))
    return {name: value for name, value in flat.items() if name not in _UNCOUNTED}


def _group(label: str, indices: list[int], runs: Sequence[Run]) -> Group:
    losses: dict[str, list[float]] = {}
    leads: dict[str, list[float]] = {}
    counted = _one_of_each_seed(indices, runs)
    for index in counted:
        best = _held_out_loss(runs[index].finals.get("best"))
        for name, row in runs[index].finals.items():
            loss = _held_out_loss(row)
            if loss is not None:
                losses.setdefault(name, []).append(loss)
                if name != "best" and best is not None:
                    leads.setdefault(name, []).append(loss - best)
    curves = [best_so_far(runs[index].trials) for index in counted]
    shortest = min(map(len, curves))
    columns = min(_POINTS, shortest)
    counts = [round((column + 1) * shortest / columns) for column in range(columns)]
    counts = [count for count in counts if all(curve[count - 1] > -inf for curve in curves)]
    config = runs[indices[0]].config
    distilled = config is not None and config.distil is not None
    tokens = min(runs[index].finals.get("best", {}).get("tokens", 0) for index in indices)
    return Group(
        label=label,
        runs=indices,
        seeds=len(counted),
        finals={name: interval(values) for name, values in losses.items()},
        leads={name: interval(values) for name, values in leads.items()},
        counts=counts,
        curve=[interval([curve[count - 1] for curve in curves]) for count in counts],
        distilled=distilled,
        noise=0.0 if distilled else noise(tokens),
    )


def _one_of_each_seed(indices: Sequence[int], runs: Sequence[Run]) -> list[int]:
    """One run of each seed, a finished one if there is any."""
    chosen: dict[int | None, int] = {}
    for index in indices:
        config = runs[index].config
        seed = None if config is None else config.seed
        if seed not in chosen or (runs[index].finals and not runs[chosen[seed]].finals):
            chosen[seed] = index
    return sorted(chosen.values())


def _held_out_loss(row: Mapping[str, Any] | None) -> float | None:
    loss = row.get("val_loss") if row else None
    return loss if isinstance(loss, float | int) else None


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
