"""The newest score of every trial, and the ranking by it."""

from collections.abc import Sequence

from autobert_zero.search.trial import Status, Trial


def newest_scores(trials: Sequence[Trial]) -> dict[int, float]:
    """The newest score of every completed trial, by number."""
    newest: dict[int, float] = {}
    for trial in trials:
        newest.update(trial.rescored)
        if trial.outcome.status is Status.COMPLETE and trial.outcome.score is not None:
            newest[trial.proposal.number] = trial.outcome.score
    return newest


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The completed trials, the best newest score first."""
    newest = newest_scores(trials)
    return [trials[number] for number in sorted(newest, key=lambda number: (-newest[number], number))]
