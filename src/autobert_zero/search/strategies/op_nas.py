"""OP-NAS, evolution led by operation priority, and its kin: each is a choice of the parts of `Rounds`."""

from collections.abc import Callable, Sequence
from typing import Protocol

from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.strategies.base import Refusal, refuse_none
from autobert_zero.search.strategies.population import ByFronts, ByScore
from autobert_zero.search.strategies.priority import OperationPriority
from autobert_zero.search.strategies.rounds import Population, Rounds
from autobert_zero.space import Backbone, Space

DRAWS = 16
"""Mutations of a parent that `op_nas` chooses a child from."""


class MakeRounds(Protocol):
    """Makes a strategy in rounds."""

    def __call__(
        self,
        space: Space,
        seed: int,
        config: StrategyConfig,
        first: Sequence[Backbone] = (),
        refusal: Refusal = refuse_none,
    ) -> Rounds:
        """See `Rounds`."""


def in_rounds(
    population: Callable[[StrategyConfig], Population], by_priority: bool, draws: int = 1
) -> MakeRounds:
    """Puts a strategy together.

    Args:
        population: Makes the population.
        by_priority: Whether mutations draw operations by priority, or all that fit with equal probability.
        draws: Mutations of a parent of which the child is the most promising.
    """

    def make(
        space: Space,
        seed: int,
        config: StrategyConfig,
        first: Sequence[Backbone] = (),
        refusal: Refusal = refuse_none,
    ) -> Rounds:
        priority = OperationPriority(space.layers, config.alpha) if by_priority else None
        chosen = population(config)
        return Rounds(space, seed, config, first, refusal, population=chosen, priority=priority, draws=draws)

    return make


def _by_score(config: StrategyConfig) -> Population:
    return ByScore()


def _by_fronts(config: StrategyConfig) -> Population:
    return ByFronts(config.objectives, config.population)


paper_op_nas = in_rounds(_by_score, by_priority=True)
"""The paper's: parents by score, operations of mutations by priority."""

op_nas = in_rounds(_by_score, by_priority=True, draws=DRAWS)
"""The paper's, but a child is the one of `DRAWS` mutations that priority promises most of, so it also decides
on kernels, on the kind of a layer and on which layer changes."""

pareto_op_nas = in_rounds(_by_fronts, by_priority=True, draws=DRAWS)
"""Ours for several objectives: the reward of an operation is how early the fronts of its trials are."""

evolution = in_rounds(_by_score, by_priority=False)
"""The paper's ablation: no priority."""
