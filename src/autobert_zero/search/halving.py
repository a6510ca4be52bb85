"""Successive halving: which candidates are trained on at a rung (Jamieson and Talwalkar 2016)."""

from collections.abc import Sequence

from autobert_zero.search.rungs import rung_metric
from autobert_zero.search.trial import Trial

_RECENT = 16
"""Number of earlier candidates that a candidate is compared with; older scores are of a worse bank."""


def promotion_thresholds(trials: Sequence[Trial], rungs: Sequence[int], share: float) -> list[float]:
    """The score that a candidate has to reach at each rung to be among the best share of recent ones.

    Args:
        trials: Earlier trials, in order; twins, which were not trained, do not count.
        rungs: Numbers of steps after which candidates are scored, rising.
        share: Share of the scored candidates that is trained on.

    Returns:
        One threshold for each rung, up to the first at which too few candidates were scored.
    """
    thresholds: list[float] = []
    for rung in rungs:
        scores = [
            trial.outcome.metrics[rung_metric(rung)]
            for trial in trials
            if rung_metric(rung) in trial.outcome.metrics and trial.outcome.same_as is None
        ][-_RECENT:]
        promoted = int(len(scores) * share)
        if promoted < 1:
            break
        thresholds.append(sorted(scores, reverse=True)[promoted - 1])
    return thresholds
