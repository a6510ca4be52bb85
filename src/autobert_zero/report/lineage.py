"""The ancestors of a candidate, and the gain of each step."""

from collections.abc import Sequence
from dataclasses import dataclass

from autobert_zero.search.trial import Status, Trial
from autobert_zero.space import Layer


@dataclass(frozen=True)
class LineageStep:
    """A candidate in the family tree.

    Attributes:
        trial: The candidate.
        gain: Its first score minus its parent's latest score at that time; None without a parent or a score.
        changed: Positions of the layers that differ from the parent's, from 0.
    """

    trial: Trial
    gain: float | None
    changed: tuple[int, ...]


def gains(trials: Sequence[Trial]) -> list[float | None]:
    """Score of each trial minus its parent's latest score at that time; None without a parent or a score."""
    latest: dict[int, float] = {}
    gained: list[float | None] = []
    for trial in trials:
        latest.update(trial.rescored)
        score = trial.outcome.score if trial.outcome.status is Status.COMPLETE else None
        before = latest.get(-1 if trial.proposal.parent is None else trial.proposal.parent)
        gained.append(None if score is None or before is None else score - before)
        if score is not None:
            latest[trial.proposal.number] = score
    return gained


def _changed(layers: Sequence[Layer], before: Sequence[Layer]) -> tuple[int, ...]:
    """Positions of the layers that the parent does not have there or, at another depth, anywhere."""
    if len(layers) == len(before):
        return tuple(index for index, layer in enumerate(layers) if layer != before[index])
    return tuple(index for index, layer in enumerate(layers) if layer not in before)


def lineage(trials: Sequence[Trial], number: int) -> list[LineageStep]:
    """The ancestors of a trial from the first on, and the trial itself last."""
    gained = gains(trials)
    steps: list[LineageStep] = []
    current: int | None = number
    while current is not None:
        trial = trials[current]
        parent = trial.proposal.parent
        layers = trial.proposal.backbone.layers
        before = layers if parent is None else trials[parent].proposal.backbone.layers
        steps.append(LineageStep(trial, gained[current], _changed(layers, before)))
        current = parent
    return steps[::-1]
