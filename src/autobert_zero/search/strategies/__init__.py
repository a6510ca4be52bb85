"""Search strategies, one file each; to add one, add it to `STRATEGIES`."""

from collections.abc import Callable, Sequence

from autobert_zero.errors import UserError, counted, unknown_name
from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.strategies.base import Refusal, SpaceExhausted, Strategy, refuse_none
from autobert_zero.search.strategies.op_nas import evolution, op_nas, paper_op_nas, pareto_op_nas
from autobert_zero.search.strategies.prefilter import Prefilter
from autobert_zero.search.strategies.random_search import RandomSearch
from autobert_zero.search.strategies.regularised_evolution import RegularisedEvolution
from autobert_zero.search.strategies.reinforce import Reinforce
from autobert_zero.search.strategies.tpe import Tpe
from autobert_zero.space import PRIMITIVES, Backbone, Space

STRATEGIES: dict[str, Callable[[Space, int, StrategyConfig, Sequence[Backbone], Refusal], Strategy]] = {
    "op-nas": op_nas,
    "op-nas-paper": paper_op_nas,
    "random": RandomSearch,
    "regularised-evolution": RegularisedEvolution,
    "evolution": evolution,
    "reinforce": Reinforce,
    "tpe": Tpe,
    "pareto": pareto_op_nas,
}


_ONE_DEPTH = ("reinforce", "tpe")
"""Strategies whose derivations have a fixed number of layers."""


def check_strategy(space: Space, config: StrategyConfig, first: Sequence[Backbone] = ()) -> None:
    """Checks a strategy's arguments.

    Raises:
        UserError: The name is unknown, a backbone has another depth than the space, or the strategy searches
            a single depth and the space has several.
    """
    if config.name not in STRATEGIES:
        raise UserError(unknown_name("strategy", config.name, STRATEGIES))
    if len(space.depths) > 1 and config.name in _ONE_DEPTH:
        raise UserError(
            f"the strategy {config.name} searches one depth: set space.min_layers=0, or choose another"
        )
    for backbone in first:
        if len(backbone.layers) not in space.depths:
            depths = space.depths
            allowed = f"{depths[0]} to {space.layers}" if len(depths) > 1 else space.layers
            raise UserError(
                f"a seed backbone has {counted(len(backbone.layers), 'layer')}, the search has {allowed}; "
                "change the file or model.layers"
            )


def foreign_operations(space: Space, first: Sequence[Backbone]) -> str | None:
    """A line about operations of the user's backbones that the space does not have; None: there are none."""
    operations = frozenset[str]().union(*(backbone.operations for backbone in first))
    foreign = [name for name in PRIMITIVES if name in operations.difference(space.primitives)]
    if not foreign:
        return None
    return (
        f"seed backbones hold {', '.join(foreign)}, which space.primitives does not: they are evaluated as "
        "they are, and passed on to children, but put nowhere else"
    )


def make_strategy(
    space: Space,
    seed: int,
    config: StrategyConfig,
    first: Sequence[Backbone] = (),
    refusal: Refusal = refuse_none,
) -> Strategy:
    """Makes the strategy that the config names; see `StrategyBase` for the arguments.

    Raises:
        UserError: The name is unknown, a backbone has another depth than the space, or the strategy searches
            a single depth and the space has several.
    """
    check_strategy(space, config, first)
    return STRATEGIES[config.name](space, seed, config, first, refusal)


__all__ = [
    "STRATEGIES",
    "Prefilter",
    "RandomSearch",
    "SpaceExhausted",
    "Strategy",
    "check_strategy",
    "foreign_operations",
    "make_strategy",
]
