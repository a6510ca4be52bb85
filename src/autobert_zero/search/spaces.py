"""From a config to the space of its search."""

from autobert_zero.config import SearchConfig
from autobert_zero.space import Space, choose_primitives


def space_of(config: SearchConfig) -> Space:
    """The bounds of the search."""
    space = config.space
    primitives = choose_primitives(space.primitives)
    return Space(config.model.layers, space.max_ops, space.attention_share, primitives)
