"""Which backbones are in the table of truth: known, found, random and mutated, over all attention counts."""

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
from autobert_zero.zoo.opponents import GATED_CONVOLUTION

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
class Chosen:
    """A backbone of the table.

    Attributes:
        origin: `known: NAME`, `found`, `random` or `mutated`.
        backbone: In canonical form.
    """

    origin: str
    backbone: Backbone

    @property
    def attentions(self) -> int:
        """Its layers in which a token may see all others."""
        return self.backbone.global_attentions


def choose(space: Space, count: int, found: Sequence[Backbone] = ()) -> list[Chosen]:
    """Chooses backbones that compute different functions, the same ones in every call.

    Known and found ones come first, a share of each attention count; the others are random or mutated from
    known ones, in turn, until each count has its share.

    Args:
        space: Its depth bounds the number of attentions.
        count: How many.
        found: Winners of the user's searches, which come before all.

    Raises:
        UserError: One of them has another depth than the space.
    """
    check_depths(found, space.layers)
    given = [
        *(("found", backbone) for backbone in found),
        *((f"known: {name}", backbone) for name, backbone in known_backbones(space).items()),
        *(("found", Backbone.from_list(layers)) for layers in FOUND if len(layers) == space.layers),
    ]
    counts = range(space.layers + 1)
    shares = Counter(place % len(counts) for place in range(count))
    seen: set[str] = set()
    chosen: list[Chosen] = []

    def take(origin: str, backbone: Backbone, attentions: int | None = None) -> bool:
        backbone = backbone.canonical()
        number, function = backbone.global_attentions, function_of(backbone)
        if function in seen or not shares[number] or attentions not in (None, number):
            return False
        seen.add(function)
        shares[number] -= 1
        chosen.append(Chosen(origin, backbone))
        return True

    for origin, backbone in given:
        take(origin, backbone)
    drawn = _drawn(space)
    for attentions in counts:
        while shares[attentions]:
            take(*next(drawn), attentions)
    return chosen


def check_depths(found: Sequence[Backbone], layers: int) -> None:
    """Checks that winners of searches can be compared.

    Raises:
        UserError: One of them has another depth.
    """
    for backbone in found:
        if len(backbone.layers) != layers:
            raise UserError(
                f"a found backbone has {len(backbone.layers)} layers, the others have {layers}; leave out "
                f"{' | '.join(backbone.to_list())}"
            )


def _drawn(space: Space) -> Iterator[tuple[str, Backbone]]:
    """Random backbones and mutated ones, without end."""
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
