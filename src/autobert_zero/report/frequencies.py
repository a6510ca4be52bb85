"""The kinds of layers in the best candidates, against those in all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from autobert_zero.search.ranking import ranked
from autobert_zero.search.trial import Trial
from autobert_zero.space import LAYER_KINDS

_FEWEST = 5


@dataclass(frozen=True)
class Frequencies:
    """Shares of the kinds of layers at each position.

    Attributes:
        best: For each kind, in the order of `LAYER_KINDS`, and each layer position: the share among the best.
        all: The same among all candidates, whatever their status.
        best_count: Number of the best: a tenth of the candidates with a score, at least 5.
        all_count: Number of all candidates.
    """

    best: list[list[float]]
    all: list[list[float]]
    best_count: int
    all_count: int


def frequencies(trials: Sequence[Trial]) -> Frequencies:
    """Counts the kinds of layers."""
    order = ranked(trials)
    best = order[: max(_FEWEST, ceil(len(order) / 10))]
    positions = max((len(trial.proposal.backbone.layers) for trial in trials), default=0)
    return Frequencies(_shares(best, positions), _shares(trials, positions), len(best), len(trials))


def _shares(trials: Sequence[Trial], positions: int) -> list[list[float]]:
    counts = [Counter[str]() for _ in range(positions)]
    for trial in trials:
        for counter, layer in zip(counts, trial.proposal.backbone.layers, strict=False):
            counter[layer.kind] += 1
    return [[counter[kind] / max(counter.total(), 1) for counter in counts] for kind in LAYER_KINDS]
