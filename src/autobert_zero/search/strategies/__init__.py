"""Search strategies, one file each; add one by adding it to `STRATEGIES`."""

from collections.abc import Callable, Sequence

from autobert_zero.config import StrategyConfig
from autobert_zero.errors import UserError
from autobert_zero.search.strategies.base import SpaceExhausted, Strategy
from autobert_zero.search.strategies.op_nas import OpNas
from autobert_zero.search.strategies.prefilter import Prefilter
from autobert_zero.search.strategies.random_search import RandomSearch
from autobert_zero.space import Backbone, Space

STRATEGIES: dict[str, Callable[[Space, int, StrategyConfig, Sequence[Backbone]], Strategy]] = {
    "op-nas": OpNas,
    "random": RandomSearch,
}


def make_strategy(
    space: Space, seed: int, config: StrategyConfig, first: Sequence[Backbone] = ()
) -> Strategy:
    """Makes the strategy that the config names.

    Args:
        space: The bounds.
        seed: Every choice is a function of it and of the trials told.
        config: Name and settings.
        first: Backbones of the user, proposed before any other.

    Raises:
        UserError: The name is unknown, or a backbone is not of the space's depth.
    """
    if config.name not in STRATEGIES:
        raise UserError(f"unknown strategy {config.name!r}; there are {', '.join(STRATEGIES)}")
    for backbone in first:
        if len(backbone.layers) != space.layers:
            raise UserError(
                f"a seed backbone has {len(backbone.layers)} layers, the search has {space.layers}; "
                "change the file or model.layers"
            )
    return STRATEGIES[config.name](space, seed, config, first)


__all__ = [
    "STRATEGIES",
    "OpNas",
    "Prefilter",
    "RandomSearch",
    "SpaceExhausted",
    "Strategy",
    "make_strategy",
]
