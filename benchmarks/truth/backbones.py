"""The backbones of the table of truth: known, found, random and mutated, over all attention counts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from random import Random

from autobert_zero.errors import UserError
from autobert_zero.search_runs.twins import function_of
from autobert_zero.space import Backbone, Space, sample_backbone
from autobert_zero.space.mutate import draw_uniformly, mutate_attention, mutate_layer_type
from autobert_zero.zoo import known_backbones
from autobert_zero.zoo.layers import GATED_CONVOLUTION

FOUND = (
    (GATED_CONVOLUTION, "(Q + previous(K) + -next(V)) * P", "conv 15", GATED_CONVOLUTION),
    (
        GATED_CONVOLUTION,
        "(Q + previous(Q) + next(K)) * V",
        "(previous(Q) + logsigmoid(K) + next(V)) * P",
        GATED_CONVOLUTION,
    ),
)
"""Winners of the demo's searches, seeds 0 and 2; that of seed 1 is a known backbone. See docs/results.md."""

_MUTATIONS = 2


@dataclass(frozen=True)
class TableBackbone:
    """A backbone of the table.

    Attributes:
        origin: `known: NAME`, `found`, `random` or `mutated`.
        backbone: The backbone, in canonical form.
    """

    origin: str
    backbone: Backbone

    @property
    def attentions(self) -> int:
        """Number of layers in which a token may attend to all others."""
        return self.backbone.global_attentions


def choose_backbones(space: Space, count: int, found: Sequence[Backbone] = ()) -> list[TableBackbone]:
    """Chooses backbones that compute different functions, the same ones in every call.

    Every attention count gets an equal share. Winners of searches and known backbones fill it first; random
    and mutated backbones, drawn alternately, fill the rest.

    Args:
        space: The search space; its depth is the maximum attention count.
        count: Number of backbones.
        found: Winners of the user's searches, which come first.

    Raises:
        UserError: A winner has another depth than the space.
    """
    check_depths(found, space.layers)
    given = [
        *(("found", backbone) for backbone in found),
        *((f"known: {name}", backbone) for name, backbone in known_backbones(space).items()),
        *(("found", Backbone.from_list(layers)) for layers in FOUND if len(layers) == space.layers),
    ]
    counts = range(space.layers + 1)
    remaining = Counter(index % len(counts) for index in range(count))
    seen: set[str] = set()
    chosen: list[TableBackbone] = []

    def add(origin: str, backbone: Backbone, attentions: int | None = None) -> None:
        backbone = backbone.canonical()
        number, function = backbone.global_attentions, function_of(backbone)
        if function not in seen and remaining[number] and attentions in (None, number):
            seen.add(function)
            remaining[number] -= 1
            chosen.append(TableBackbone(origin, backbone))

    for origin, backbone in given:
        add(origin, backbone)
    draws = _draws(space)
    for attentions in counts:
        while remaining[attentions]:
            add(*next(draws), attentions)
    return chosen


def check_depths(found: Sequence[Backbone], layers: int) -> None:
    """Checks that the winners of searches have the given number of layers.

    Raises:
        UserError: A winner has another number of layers.
    """
    for backbone in found:
        if len(backbone.layers) != layers:
            raise UserError(
                f"a found backbone has {len(backbone.layers)} layers, the others have {layers}; leave out "
                f"{' | '.join(backbone.to_list())}"
            )


def _draws(space: Space) -> Iterator[tuple[str, Backbone]]:
    """Yields random and mutated backbones alternately, each with its origin, without end."""
    random = Random("table of truth")
    known = known_backbones(space)
    space = replace(space, known=tuple(known.items()))
    for parent in cycle(known.values()):
        yield "random", sample_backbone(random, space)
        for _ in range(_MUTATIONS):
            if random.random() < 0.5:
                parent, _ = mutate_layer_type(random, parent, space)
            else:
                parent, _ = mutate_attention(random, parent, space, lambda index: draw_uniformly)
        yield "mutated", parent
