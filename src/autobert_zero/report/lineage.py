"""Where a candidate comes from, and what each step gained."""

from collections.abc import Sequence
from dataclasses import dataclass

from autobert_zero.search.trial import Status, Trial
from autobert_zero.space import Layer


@dataclass(frozen=True)
class LineageStep:
    """A candidate in the family tree.

    Attributes:
        trial: The candidate.
        gain: Its first score over its parent's at that time (which may have been scored again just before);
            None without a parent or a score.
        changed: Positions of the layers that differ from the parent's, counted from 0.
    """

    trial: Trial
    gain: float | None
    changed: tuple[int, ...]


def gains(trials: Sequence[Trial]) -> list[float | None]:
    """What each trial scored over its parent, as the strategy saw both; None where there is no such thing."""
    seen: dict[int, float] = {}
    found: list[float | None] = []
    for trial in trials:
        seen.update(trial.rescored)
        score, parent = trial.outcome.score, trial.proposal.parent
        complete = trial.outcome.status is Status.COMPLETE and score is not None
        found.append(score - seen[parent] if complete and score is not None and parent in seen else None)
        if complete and score is not None:
            seen[trial.proposal.number] = score
    return found


def _changed(layers: Sequence[Layer], before: Sequence[Layer]) -> tuple[int, ...]:
    """Places of the layers that the parent does not have, position by position where it is as deep."""
    if len(layers) == len(before):
        return tuple(index for index, layer in enumerate(layers) if layer != before[index])
    return tuple(index for index, layer in enumerate(layers) if layer not in before)


def lineage(trials: Sequence[Trial], number: int) -> list[LineageStep]:
    """The ancestors of a trial from the first, and itself as the last."""
    gained = gains(trials)
    steps: list[LineageStep] = []
    place: int | None = number
    while place is not None:
        trial = trials[place]
        parent = trial.proposal.parent
        layers = trial.proposal.backbone.layers
        before = layers if parent is None else trials[parent].proposal.backbone.layers
        steps.append(LineageStep(trial, gained[place], _changed(layers, before)))
        place = parent
    return steps[::-1]
