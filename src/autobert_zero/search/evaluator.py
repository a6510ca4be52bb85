"""What the search needs of an evaluator, and one for candidates that do not depend on each other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from autobert_zero.search.trial import Outcome, Proposal, Trial


class Evaluator(Protocol):
    """Scores candidates; may learn from each, as one that shares weights does."""

    def restore(self, trials: Sequence[Trial]) -> int:
        """Brings a new evaluator to where recorded trials left the one before.

        Returns:
            Of how many trials it has learned. Those after them are evaluated again, and keep their recorded
            outcomes.
        """

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> Mapping[int, float]:
        """Scores trials again that the strategy is about to compare, if their scores may be stale.

        Args:
            contenders: Trials that were completed.
            trials: All so far.

        Returns:
            New scores by the number of the trial; none where scores do not age.
        """

    def evaluate(self, proposals: Sequence[Proposal], trials: Sequence[Trial]) -> list[Outcome]:
        """Evaluates candidates that start from one state, in any order or at once.

        Args:
            proposals: The candidates, perhaps none.
            trials: All so far.

        Returns:
            Their outcomes, in the order of the proposals.
        """

    def save(self, count: int) -> None:
        """Called when a batch is evaluated, before its trials are recorded.

        What is saved may reach the disk later, but before the next call ends: after a kill the trials of one
        batch at most are recorded and not saved.

        Args:
            count: Number of trials with those of the batch.
        """


class IndependentEvaluator:
    """An evaluator that scores each candidate by itself and learns nothing.

    Args:
        score: From a proposal to its outcome.
    """

    def __init__(self, score: Callable[[Proposal], Outcome]) -> None:
        self._score = score

    def restore(self, trials: Sequence[Trial]) -> int:
        """All of them: there is nothing to restore."""
        return len(trials)

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> Mapping[int, float]:
        """None: these scores do not age."""
        return {}

    def evaluate(self, proposals: Sequence[Proposal], trials: Sequence[Trial]) -> list[Outcome]:
        """Scores one after the other."""
        return list(map(self._score, proposals))

    def save(self, count: int) -> None:
        """There is nothing to save."""
