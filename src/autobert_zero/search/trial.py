"""Proposals of a strategy, their outcomes, and both as trials."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from autobert_zero.space import CanonicalBackbone

GIVEN = "given by the user"
KNOWN = "known"
"""Start of the mutations of a backbone that the search was given, by the user or by its space."""


class Status(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Proposal:
    """A candidate to evaluate.

    Attributes:
        number: Number of the trial, from 0.
        backbone: The backbone to evaluate.
        round: Number of the round; its trials do not depend on each other. Round 0 is the first population.
        parent: Number of the trial that it was mutated from, if any.
        mutations: Descriptions of the changes, for people.
        repeats: Number of draws that were discarded because they had been proposed before.
        rejected: Number of draws that were discarded because they exceeded a limit of the run.
    """

    number: int
    backbone: CanonicalBackbone
    round: int = 0
    parent: int | None = None
    mutations: tuple[str, ...] = ()
    repeats: int = 0
    rejected: int = 0

    @property
    def given(self) -> bool:
        """Whether the search was given the backbone, by the user or as a known one."""
        return self.parent is None and bool(self.mutations) and self.mutations[0].startswith((GIVEN, KNOWN))


@dataclass(frozen=True)
class Outcome:
    """The result of an evaluation.

    Attributes:
        status: COMPLETE with a score, or PRUNED / FAILED / DIVERGED with a reason.
        score: Higher is better.
        reason: Why there is no score.
        metrics: Further figures, by name.
        seconds: Duration of the evaluation.
        same_as: Number of the trial that computes the same function, whose outcome this is.

    Raises:
        ValueError: COMPLETE without a finite score.
    """

    status: Status
    score: float | None = None
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    same_as: int | None = None

    def __post_init__(self) -> None:
        finite = self.score is not None and abs(self.score) < float("inf")
        if self.status is Status.COMPLETE and not finite:
            raise ValueError(f"the score of a complete trial must be finite, not {self.score}")


@dataclass(frozen=True)
class Trial:
    """A proposal with its outcome.

    Attributes:
        proposal: The evaluated proposal.
        outcome: Its outcome.
        rescored: New scores of earlier trials, by number, that the strategy received just before it made
            this proposal; replaying a history repeats them.
    """

    proposal: Proposal
    outcome: Outcome
    rescored: Mapping[int, float] = field(default_factory=dict)
