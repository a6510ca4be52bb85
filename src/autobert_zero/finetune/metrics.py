"""The metrics of GLUE, by scikit-learn and scipy, and those of tags, by seqeval."""

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support
from sklearn import metrics

Values = NDArray[np.float64] | NDArray[np.int64]
Metric = Callable[[Values, Values], float]
"""From predictions and labels to a number; higher is better, 1 is perfect."""


def _correlation(function: Callable[[Values, Values], tuple[float, float]]) -> Metric:
    def metric(predictions: Values, labels: Values) -> float:
        # A model that predicts a constant has learned nothing; scipy returns NaN.
        if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
            return 0.0
        return float(function(predictions, labels)[0])

    return metric


REGRESSION_METRICS = ("pearson", "spearman")
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

TAG_METRICS = ("f1", "precision", "recall", "accuracy")
"""Metrics of tags. The first three count entities, and need tags that mark some; the last counts words."""


def tag_metrics(
    predictions: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], entities: bool
) -> dict[str, float]:
    """The metrics of predicted tags; 0 instead of a division by zero.

    An entity counts as predicted if its type, first word and last word are right; F1, precision and recall
    are over all entities of all sentences, as in conlleval (Tjong Kim Sang and De Meulder 2003).

    Args:
        predictions: Tags of the words of each sentence; entities are in an IOB scheme.
        tags: The correct tags.
        entities: Whether tags mark entities; there is only the accuracy without.
    """
    right = sum(map(str.__eq__, chain(*predictions), chain(*tags)))
    accuracy = right / sum(map(len, tags))
    if not entities:
        return {"accuracy": accuracy}
    precision, recall, f1, _ = precision_recall_fscore_support(
        [list(sentence) for sentence in tags],
        [list(sentence) for sentence in predictions],
        average="micro",
        zero_division=0,
    )
    values = (float(f1), float(precision), float(recall), accuracy)
    return dict(zip(TAG_METRICS, values, strict=True))
