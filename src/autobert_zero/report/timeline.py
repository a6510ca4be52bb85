"""The operation priority of OP-NAS over time, recomputed from the history."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from autobert_zero.search.config import SearchConfig
from autobert_zero.search.strategies import STRATEGIES, make_strategy
from autobert_zero.search.strategies.priority import OperationPriority
from autobert_zero.search.trial import Trial
from autobert_zero.space import KERNEL_SIZES, PRIMITIVES, Backbone

_COLUMNS = 60
"""Maximum number of points in time."""


@dataclass(frozen=True)
class Timeline:
    """The operation priority at some points in time.

    Attributes:
        operations: Names of the primitives of the space and of the user's backbones, and of the kernels.
        times: Numbers of candidates that the strategy had recorded.
        plays: N_i, [layer position][operation in the order of `operations`][time].
        mean: mu_i, of the same shape; None if no trial with the operation has completed.
        bound: u_i, of the same shape; None if the operation was never played, so that it comes first.
    """

    operations: list[str]
    times: list[int]
    plays: list[list[list[int]]]
    mean: list[list[list[float | None]]]
    bound: list[list[list[float | None]]]


def timeline(config: SearchConfig, first: Sequence[Backbone], trials: Sequence[Trial]) -> Timeline | None:
    """Replays the recorded trials in the strategy; None if it keeps no operation priority."""
    if config.strategy.name not in STRATEGIES:  # a strategy of the user's own
        return None
    strategy = make_strategy(config.bounds, config.seed, config.strategy, first)
    priority = getattr(strategy, "priority", None)
    if not isinstance(priority, OperationPriority):
        return None
    played = frozenset[str]().union(*(trial.proposal.backbone.operations for trial in trials))
    operations = [name for name in PRIMITIVES if name in played.union(config.bounds.primitives)]
    operations += [f"conv {kernel}" for kernel in KERNEL_SIZES]
    columns = min(_COLUMNS, len(trials))
    times = [round((column + 1) * len(trials) / columns) for column in range(columns)]
    layers = range(config.model.layers)
    plays: list[list[list[int]]] = [[[] for _ in operations] for _ in layers]
    mean: list[list[list[float | None]]] = [[[] for _ in operations] for _ in layers]
    bound: list[list[list[float | None]]] = [[[] for _ in operations] for _ in layers]
    for start, time in pairwise([0, *times]):
        for trial in trials[start:time]:
            strategy.rescore(trial.rescored)
            strategy.tell(trial)
        for layer in layers:
            for row, operation in enumerate(operations):
                record = priority.records[layer].get(operation)
                plays[layer][row].append(record.plays if record else 0)
                mean[layer][row].append(round(record.mean, 4) if record and record.completed else None)
                upper = priority.bound(layer, operation)
                bound[layer][row].append(None if upper == inf else round(upper, 4))
    return Timeline(operations, times, plays, mean, bound)
