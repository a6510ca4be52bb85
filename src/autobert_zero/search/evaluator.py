"""The protocol of evaluators, and an evaluator of independent candidates."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from autobert_zero.search.trial import Outcome, Proposal, Trial


class Evaluator(Protocol):
    """Scores candidates; may learn from each, as one with shared weights does. The defaults learn nothing."""

    def restore(self, trials: Sequence[Trial]) -> int:
        """Restores the state of an interrupted search.

        Returns:
            Number of the recorded trials that the state includes. The trials after those are evaluated again,
            and keep their recorded outcomes.
        """
        return len(trials)

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> Mapping[int, float]:
        """Scores the trials again that the strategy is about to compare, if their scores may be stale.

        Args:
            contenders: Completed trials that the strategy compares.
            trials: All trials so far.

        Returns:
            New scores by trial number; empty if scores do not become stale.
        """
        return {}

    def evaluate(self, proposals: Sequence[Proposal], trials: Sequence[Trial]) -> list[Outcome]:
        """Evaluates candidates that start from one state, in any order or at once.

        Args:
            proposals: The candidates; may be empty.
            trials: All trials so far.

        Returns:
            The outcomes, in the order of the proposals.
        """

    def save(self, count: int) -> None:
        """Saves the state when a batch is evaluated, before its trials are recorded.

        The state may reach the disk later, but before the next call ends: after a kill the trials of at most
        one batch are recorded and not saved.

        Args:
            count: Number of trials, including those of the batch.
        """
        return


class IndependentEvaluator(Evaluator):
    """An evaluator that scores each candidate on its own and learns nothing.

    Args:
        score: Returns the outcome of a proposal.
    """

    def __init__(self, score: Callable[[Proposal], Outcome]) -> None:
        self._score = score

    def evaluate(self, proposals: Sequence[Proposal], trials: Sequence[Trial]) -> list[Outcome]:
        return list(map(self._score, proposals))
