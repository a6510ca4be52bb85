"""The charts of pre-trainings: one for each kind of figure in their logs."""

from collections.abc import Sequence
from typing import Any

from autobert_zero.report.pretraining import Pretraining

_VALIDATION = "validation_"

_NAMES = {
    "loss": "loss",
    "cosine": "cosine to the teacher, validation",
    "mlm_accuracy": "accuracy of masked tokens, validation",
    "nsp_accuracy": "accuracy of next sentences, validation",
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens per second",
}
"""Names of charts; other charts have the keys of their figures as names."""


def charts(runs: Sequence[Pretraining]) -> list[dict[str, Any]]:
    """One chart per kind of figure: its name and its series, training and validation together."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for number, run in enumerate(runs):
        for key in dict.fromkeys(key for line in run.figures for key in line if key != "step"):
            kind = key.removeprefix(_VALIDATION)
            split = ("validation " if key != kind else "training ") if kind == "loss" else ""
            points = [[line["step"], line[key]] for line in run.figures if key in line]
            label = (
                f"{run.name} {split}".strip() if len(runs) > 1 else split.strip() or kind.replace("_", " ")
            )
            series = {"run": number, "label": label, "dashed": key != kind, "points": points}
            by_kind.setdefault(kind, []).append(series)
    ordered = sorted(by_kind, key=lambda kind: ([*_NAMES, kind]).index(kind))
    return [{"name": _NAMES.get(kind, kind.replace("_", " ")), "series": by_kind[kind]} for kind in ordered]
