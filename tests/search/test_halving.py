"""Successive halving's decision, by hand."""

import pytest

from autobert_zero.search.halving import promotion_thresholds
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone

BACKBONE = Backbone.parse("conv 3").canonical()
RUNGS = (10, 20)


def scored(*scores: float, twin: bool = False) -> Outcome:
    """A candidate with these scores at the first rungs; stopped where the second is missing."""
    status = Status.COMPLETE if len(scores) == len(RUNGS) else Status.PRUNED
    return Outcome(
        status,
        scores[-1] if status is Status.COMPLETE else None,
        metrics={f"rung {rung}": score for rung, score in zip(RUNGS, scores, strict=False)},
        same_as=0 if twin else None,
    )


@pytest.mark.parametrize(
    ("outcomes", "share", "thresholds"),
    [
        ([], 0.5, []),
        # One candidate: half of it is nobody.
        ([scored(1.0, 2.0)], 0.5, []),
        # Of two the better one; at the second rung only one was scored.
        ([scored(1.0, 5.0), scored(3.0)], 0.5, [3.0]),
        ([scored(1.0, 5.0), scored(3.0, 4.0)], 0.5, [3.0, 5.0]),
        # Of five half is two, rounded down; of four a quarter is one, of three none.
        ([scored(value) for value in (1.0, 5.0, 3.0, 4.0, 2.0)], 0.5, [4.0]),
        ([scored(value) for value in (1.0, 5.0, 3.0, 4.0)], 0.25, [5.0]),
        ([scored(value) for value in (1.0, 5.0, 3.0)], 0.25, []),
        # Equal scores are all at the threshold.
        ([scored(2.0), scored(2.0), scored(2.0), scored(1.0)], 0.5, [2.0]),
        # Twins were not trained, failures not scored.
        ([scored(1.0), scored(9.0, twin=True), Outcome(Status.FAILED), scored(3.0)], 0.5, [3.0]),
        # Only the last 16 count: the best of the old ones are gone.
        ([scored(99.0)] * 4 + [scored(float(value)) for value in range(16)], 0.5, [8.0]),
        ([scored(99.0)] * 4 + [scored(float(value)) for value in range(15)], 0.5, [8.0]),
    ],
)
def test_thresholds(outcomes: list[Outcome], share: float, thresholds: list[float]) -> None:
    trials = [Trial(Proposal(number, BACKBONE), outcome) for number, outcome in enumerate(outcomes)]
    assert promotion_thresholds(trials, RUNGS, share) == thresholds
