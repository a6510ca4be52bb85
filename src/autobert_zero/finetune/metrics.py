"""The metrics of GLUE, by scikit-learn and scipy."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics

Values = NDArray[np.float64] | NDArray[np.int64]
Metric = Callable[[Values, Values], float]
"""From predictions and labels to a number, higher is better, 1 is perfect."""


def _correlation(function: Callable[[Values, Values], tuple[float, float]]) -> Metric:
    def metric(predictions: Values, labels: Values) -> float:
        # A model that predicts one value for all has learned nothing; scipy says nan.
        if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
            return 0.0
        return float(function(predictions, labels)[0])

    return metric


OF_VALUES = ("pearson", "spearman")
"""Metrics of regressions; the others are of classes."""

METRICS: dict[str, Metric] = {
    "accuracy": lambda predictions, labels: float(metrics.accuracy_score(labels, predictions)),
    "f1": lambda predictions, labels: float(metrics.f1_score(labels, predictions, zero_division=0.0)),
    "macro_f1": lambda predictions, labels: float(
        metrics.f1_score(labels, predictions, average="macro", zero_division=0.0)
    ),
    "matthews": lambda predictions, labels: float(metrics.matthews_corrcoef(labels, predictions)),
    "pearson": _correlation(stats.pearsonr),
    "spearman": _correlation(stats.spearmanr),
}
