"""Sampling that is valid by construction, and the exact size of the space.

A table counts the expressions of every type and size that a set of primitives makes. Drawing each
production with the probability of its share of that count gives a uniform sample of the expressions of one
size, top down, without rejection: growing at random from the inputs almost never fits a matmul.
"""

from dataclasses import dataclass
from math import inf
from random import Random

from autobert_zero.space import types
from autobert_zero.space.backbone import KERNEL_SIZES, Attention, Backbone, Convolution, Layer
from autobert_zero.space.errors import SpaceError
from autobert_zero.space.graph import Graph, Node
from autobert_zero.space.primitives import PAPER, PRIMITIVES, choose_primitives
from autobert_zero.space.table import ANY, SEVERAL, Table, table_of
from autobert_zero.space.types import Type


@dataclass(frozen=True)
class Space:
    """The bounds of a search.

    Attributes:
        layers: Maximum depth of a backbone.
        max_ops: Maximum number of operations in one attention; the published ones have at most 11.
        attention_share: Probability that a sampled layer is an attention.
        primitives: Names of the operations that sampling and mutation draw from; `paper`, `modern` or a list
            in any order, resolved.
        known: Known backbones, by name: a search starts with them, and mutations may insert their attentions
            anywhere.
        min_layers: Minimum depth; 0: all backbones have the maximum depth.

    Raises:
        SpaceError: A bound is out of range, a primitive is unknown, or they make no attention.
    """

    layers: int
    max_ops: int = 12
    attention_share: float = 0.5
    primitives: tuple[str, ...] = PAPER
    known: tuple[tuple[str, Backbone], ...] = ()
    min_layers: int = 0

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise SpaceError(f"a backbone must have at least one layer, not {self.layers}")
        if self.min_layers < 0:
            raise SpaceError(f"the least depth must be at least 0, not {self.min_layers}")
        if self.min_layers > self.layers:
            raise SpaceError(f"the least depth {self.min_layers} is above the greatest, {self.layers}")
        if not 1 <= self.max_ops <= 64:
            raise SpaceError(f"max_ops must be between 1 and 64, not {self.max_ops}")
        if not 0 <= self.attention_share <= 1:
            raise SpaceError(f"attention_share must be a probability, not {self.attention_share}")
        for name, backbone in self.known:
            if len(backbone.layers) not in self.depths:
                raise SpaceError(f"the known backbone {name} has another depth than {self.layers}")
        object.__setattr__(self, "primitives", choose_primitives(self.primitives))
        if self.attention_share and not self.table.graph_sizes(self.max_ops):
            names = ", ".join(self.primitives) or "none"
            least = self.table.least[types.ND, True]
            remedy = f"raise max_ops to {least} or more" if least < inf else f"add one of {self._missing()}"
            raise SpaceError(
                f"no attention of up to {self.max_ops} operations can be built of these primitives: {names}; "
                f"an attention makes (n, d) from two inputs at least: {remedy}"
            )

    def _missing(self) -> str:
        """The primitives of which any one makes an attention possible."""
        one_more = ((name, choose_primitives((*self.primitives, name))) for name in PRIMITIVES)
        found = [name for name, names in one_more if table_of(names).least[types.ND, True] < inf]
        return ", ".join(found)

    @property
    def depths(self) -> range:
        """The depths that a backbone may have."""
        return range(self.min_layers or self.layers, self.layers + 1)

    @property
    def known_attentions(self) -> list[Attention]:
        """The different attentions of the known backbones."""
        layers = (layer for _, backbone in self.known for layer in backbone.layers)
        return list(dict.fromkeys(layer for layer in layers if isinstance(layer, Attention)))

    @property
    def table(self) -> "Table":
        """The expressions that the primitives make."""
        return table_of(self.primitives)


def sample_node(
    random: Random, wanted: Type, max_size: int, primitives: tuple[str, ...] = PAPER
) -> Node | None:
    """Samples an expression of a type, its size uniform among those that exist up to `max_size`.

    Returns:
        The expression, or None where no expression of this type is that small.
    """
    table = table_of(primitives)
    sizes = table.sizes(wanted, max_size)
    return table.sample(random, (wanted, random.choice(sizes), ANY)) if sizes else None


def sample_graph(random: Random, max_ops: int, primitives: tuple[str, ...] = PAPER) -> Graph:
    """Samples an attention graph: uniform over the sizes up to `max_ops`, then over that size's formulas.

    Args:
        random: Source of all random choices.
        max_ops: Maximum number of operations.
        primitives: Primitives to draw from, as in `Space`; at least one graph must exist.
    """
    table = table_of(primitives)
    size = random.choice(table.graph_sizes(max_ops))
    return Graph(table.sample(random, (types.ND, size, SEVERAL)))


def sample_layer(random: Random, space: Space) -> Layer:
    """Samples an attention or a convolution."""
    if random.random() < space.attention_share:
        return Attention(sample_graph(random, space.max_ops, space.primitives))
    return Convolution(random.choice(KERNEL_SIZES))


def sample_backbone(random: Random, space: Space) -> Backbone:
    """Samples a depth, then every layer independently (the paper's macro space)."""
    depths = space.depths
    depth = random.choice(depths) if len(depths) > 1 else space.layers
    return Backbone(tuple(sample_layer(random, space) for _ in range(depth)))


def count_graphs(max_ops: int, primitives: tuple[str, ...] = PAPER) -> int:
    """Counts the well-typed formulas of up to `max_ops` operations and at least two inputs, exactly.

    Different formulas may be equal by algebra: this counts what can be written, not what differs.
    """
    return table_of(primitives).count_graphs(max_ops)


def count_backbones(space: Space) -> int:
    """Counts the backbones that can be written within the bounds, exactly."""
    graphs = count_graphs(space.max_ops, space.primitives)
    return sum((graphs + len(KERNEL_SIZES)) ** depth for depth in space.depths)
