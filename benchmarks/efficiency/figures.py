"""Statistics and a picture of curves of best scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Curves = dict[str, NDArray[np.float64]]
"""Best score so far by strategy, (seeds, evaluations)."""


def interval(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % bootstrap interval of the mean over the first axis."""
    random = np.random.default_rng(0)
    picked = random.integers(len(values), size=(2000, len(values)))
    means = np.stack([values[rows].mean(axis=0) for rows in picked])
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return low, high


def summary(curves: Curves) -> dict[str, Any]:
    """Statistics of the curves of paired seeds."""
    from scipy.stats import wilcoxon

    seeds, evaluations = curves["random"].shape
    goal = curves["random"][:, -1]
    result: dict[str, Any] = {"seeds": seeds, "evaluations": evaluations, "strategies": {}}
    for name, curve in curves.items():
        there = curve >= goal[:, None]
        reached = there.any(axis=1)
        needed = np.where(reached, there.argmax(axis=1) + 1, evaluations) / evaluations
        low, high = interval(needed)
        mean = curve.mean(axis=0)
        passed = mean >= goal.mean()
        result["strategies"][name] = {
            "evaluations_to_random_best": round(float(needed.mean()), 4),
            "interval": [round(float(low), 4), round(float(high), 4)],
            "reached": round(float(reached.mean()), 4),
            "mean_curve_reaches": round((int(passed.argmax()) + 1) / evaluations, 4)
            if passed.any()
            else None,
            "final_best_mean": round(float(mean[-1]), 5),
        }
    result["op_nas_against"] = {}
    for name, curve in curves.items():
        if name == "op-nas":
            continue
        difference = curves["op-nas"][:, -1] - curve[:, -1]
        low, high = interval(difference)
        result["op_nas_against"][name] = {
            "mean_difference": round(float(difference.mean()), 5),
            "interval": [round(float(low), 5), round(float(high), 5)],
            "wins": int((difference > 0).sum()),
            "ties": int((difference == 0).sum()),
            "wilcoxon_p": round(float(wilcoxon(difference).pvalue), 5) if difference.any() else 1.0,
        }
    return result


def curves_as_json(curves: Curves) -> dict[str, Any]:
    """Curves as plain data."""
    result = {}
    for name, curve in curves.items():
        low, high = interval(curve)
        figures = {"mean": curve.mean(axis=0), "low": low, "high": high}
        result[name] = {key: [round(float(value), 5) for value in line] for key, line in figures.items()}
    return result


def draw(kinds: Mapping[str, Curves], path: Path) -> None:
    """Draws the best score so far with 95 % intervals, one panel per kind of evaluation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(kinds), figsize=(6 * len(kinds), 4.5), squeeze=False)
    for panel, (title, curves) in zip(panels[0], kinds.items(), strict=True):
        for name, curve in curves.items():
            low, high = interval(curve)
            steps = np.arange(1, curve.shape[1] + 1)
            (line,) = panel.plot(
                steps, curve.mean(axis=0), label=name, linewidth=2.5 if name == "op-nas" else 1.2
            )
            panel.fill_between(steps, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
        shown = [curve[:, min(4, curve.shape[1] - 1) :] for curve in curves.values()]
        bottom, top = min(c.mean(axis=0).min() for c in shown), max(c.mean(axis=0).max() for c in shown)
        panel.set_ylim(bottom, top + 0.08 * (top - bottom))
        panel.set_title(f"{title}, {len(curves['random'])} seeds")
        panel.set_xlabel("evaluations")
        panel.set_ylabel("best score so far (negative loss)")
        panel.grid(alpha=0.3)
    panels[0][-1].legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
