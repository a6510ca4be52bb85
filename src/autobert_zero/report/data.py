"""The data of a run that the page embeds for its charts: plain, and compact for many candidates."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from autobert_zero import cost
from autobert_zero.report.frequencies import frequencies
from autobert_zero.report.lineage import lineage
from autobert_zero.report.pareto import front
from autobert_zero.report.runs import Run
from autobert_zero.report.timeline import timeline
from autobert_zero.search.ranking import newest_scores, ranked
from autobert_zero.search.summary_text import LABELS
from autobert_zero.search.trial import Trial
from autobert_zero.space import LAYER_KINDS, Layer

Json = dict[str, Any]

_AXES = (
    ("parameters", "parameters", ""),
    ("flops", "FLOPs per sequence", ""),
    ("latency", "latency", "ms"),
    ("seconds", "time of evaluation", "s"),
)
"""Costs that the score is drawn against: key, name, unit. A cost that no candidate has is left out."""

_SCORES = {
    "loss": "score (minus the loss, nats)",
    "accuracy": "score (accuracy of masked tokens)",
    "tasks": "score (mean over the tasks)",
    "minimal_pairs": "score (accuracy on minimal pairs)",
}
"""Descriptions of the scores of candidates, by the setting `proxy.score`."""

_PICTURES = 24
"""Number of best candidates that are drawn, among others; pictures of all would be most of the page."""


def run_data(run: Run) -> Json:
    """Everything that the charts draw of a run."""
    winner = run.winner
    columns = candidates(run)
    return {
        "name": run.name,
        "score": _score(run),
        "candidates": columns,
        "axes": [
            {"key": key, "name": name, "unit": unit, "front": front(columns[key], columns["newest"])}
            for key, name, unit in _AXES
            if any(value is not None for value in columns[key])
        ],
        "winner": winner,
        "lineage": []
        if winner is None
        else [step.trial.proposal.number for step in lineage(run.trials, winner)],
        "priority": _priority(run),
        "frequencies": {"kinds": LAYER_KINDS, **asdict(frequencies(run.trials))} if run.trials else None,
        "uniformity": {
            LABELS[name]: list(row["uniformity"]) for name, row in run.finals.items() if row.get("uniformity")
        },
        "baselines": baselines(run),
    }


def _score(run: Run) -> str:
    """A description of the scores of candidates."""
    if run.config is None:
        return "score"
    if run.config.distil is not None:
        return "score (minus the distillation loss)"
    return _SCORES[run.config.proxy.score]


def candidates(run: Run) -> Json:
    """The history by columns; `layers` has, for each candidate, indices into `texts`, the distinct layers."""
    trials, newest = run.trials, newest_scores(run.trials)
    texts: dict[Layer, int] = {}
    layers = [
        [texts.setdefault(layer, len(texts)) for layer in trial.proposal.backbone.layers] for trial in trials
    ]
    parameters, flops = _costs(run)
    return {
        "texts": [str(layer) for layer in texts],
        "layers": layers,
        "status": [trial.outcome.status.value for trial in trials],
        "score": [trial.outcome.score for trial in trials],
        "newest": [newest.get(trial.proposal.number) for trial in trials],
        "reason": {trial.proposal.number: trial.outcome.reason for trial in trials if trial.outcome.reason},
        "round": [trial.proposal.round for trial in trials],
        "parent": [trial.proposal.parent for trial in trials],
        # As recorded, if it was: a model that a search starts from brings its own sizes.
        "parameters": [
            int(trial.outcome.metrics["parameters"]) if "parameters" in trial.outcome.metrics else counted
            for trial, counted in zip(trials, parameters, strict=True)
        ],
        "flops": flops,
        "latency": [trial.outcome.metrics.get("latency_ms") for trial in trials],
        "seconds": [round(trial.outcome.seconds, 3) for trial in trials],
    }


def _costs(run: Run) -> tuple[Sequence[int | None], Sequence[int | None]]:
    """Parameters and FLOPs of every candidate; a layer that several share is computed once."""
    sizes, config = run.sizes, run.config
    if sizes is None or config is None or not run.trials:
        return [None] * len(run.trials), [None] * len(run.trials)
    length = config.data.length

    @cache
    def layer_cost(layer: Layer) -> cost.LayerCost:
        return cost.layer_cost(layer, sizes, length)

    layers = [[layer_cost(layer) for layer in trial.proposal.backbone.layers] for trial in run.trials]
    around = cost.parameters(run.trials[0].proposal.backbone, sizes) - sum(
        layer.parameters for layer in layers[0]
    )
    return (
        [around + sum(layer.parameters for layer in costs) for costs in layers],
        [sum(layer.flops for layer in costs) for costs in layers],
    )


def _priority(run: Run) -> Json | None:
    if run.config is None or not run.trials:
        return None
    statistics = timeline(run.config, run.first, run.trials)
    return None if statistics is None else asdict(statistics)


def baselines(run: Run) -> list[Json]:
    """The models of the comparison on the scale of the scores; none if the scores are of tasks."""
    kind = run.config.proxy.score if run.config else "tasks"
    column = {"loss": "val_loss", "accuracy": "mlm_accuracy"}.get(kind)
    sign = -1 if kind == "loss" else 1
    return [
        {"name": LABELS[name], "score": sign * row[column]}
        for name, row in run.finals.items()
        if column is not None and row.get(column) is not None
    ]


def pictured_candidates(run: Run, axes: Sequence[Json]) -> list[int]:
    """Numbers of the candidates that get a picture: the best, the Pareto fronts, the winner's ancestors."""
    best = [trial.proposal.number for trial in ranked(run.trials)[:_PICTURES]]
    winner = run.winner
    ancestors = [] if winner is None else [step.trial.proposal.number for step in lineage(run.trials, winner)]
    fronts = [number for axis in axes for number in axis["front"]]
    return sorted({*best, *fronts, *ancestors[-2 * _PICTURES :]})


def failures(trials: Sequence[Trial]) -> list[Json]:
    """Candidates without a score by status and reason (ignoring its figures), the most common first."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.outcome.score is None:
            reason = trial.outcome.reason or "no reason recorded"
            groups.setdefault((trial.outcome.status.value, re.sub(r"\d[\d.e+-]*", "#", reason)), []).append(
                trial
            )
    return [
        {
            "status": status,
            "reason": members[0].outcome.reason or "no reason recorded",
            "others": len({trial.outcome.reason for trial in members}) - 1,
            "numbers": [trial.proposal.number for trial in members],
            "seconds": sum(trial.outcome.seconds for trial in members),
        }
        for (status, _), members in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def saved_evaluations(trials: Sequence[Trial]) -> Json:
    """Numbers of evaluations that were saved; None if the history does not hold them."""
    return {
        "draws": sum(trial.proposal.repeats for trial in trials) if trials else None,
        "reused": sum(trial.outcome.same_as is not None for trial in trials) if trials else None,
    }


def statuses(trials: Sequence[Trial]) -> Counter[str]:
    """Number of trials of each status."""
    return Counter(trial.outcome.status.value for trial in trials)
