"""The stacks that a search may start from and has to beat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autobert_zero.space import Attention, Backbone, Convolution, Space
from autobert_zero.space.inheritance import even_places
from autobert_zero.zoo.layers import known_layers
from autobert_zero.zoo.stacks import (
    bert,
    convolution,
    gated_convolution,
    hybrid,
    rotary,
    rotary_hybrid,
    wide_hybrid,
)
from autobert_zero.zoo.trunks import BERT_TRUNK


@dataclass(frozen=True)
class Opponent:
    """A stack that a search compares its winner with.

    Attributes:
        build: Builds the backbone of a depth.
        trunk: Settings of `EncoderConfig` that differ from the run's.
    """

    build: Callable[[int], Backbone]
    trunk: Mapping[str, Any] = field(default_factory=dict)


def opponents(space: Space) -> dict[str, Opponent]:
    """The opponents of a search's winner; they use rotary attention if the space has it."""
    if "rotary" not in space.primitives:
        return {
            "bert": Opponent(bert, BERT_TRUNK),
            "hybrid": Opponent(hybrid),
            "convolution": Opponent(convolution),
        }
    return {
        "bert": Opponent(bert, BERT_TRUNK),
        "rotary": Opponent(rotary),
        "hybrid": Opponent(rotary_hybrid),
        "wide-hybrid": Opponent(wide_hybrid),
        "gated-convolution": Opponent(gated_convolution),
        "convolution": Opponent(convolution),
    }


def known_backbones(space: Space) -> dict[str, Backbone]:
    """Backbones that a search may start with: its opponents in the run's trunk, and stacks of known layers.

    Returns:
        Different backbones by name, all within the space's primitives.
    """
    built = {
        name: opponent.build(space.layers)
        for name, opponent in opponents(space).items()
        if not opponent.trunk
    }
    built |= {
        f"{name} only": Backbone((layer,) * space.layers)
        for name, layer in known_layers(space.primitives).items()
    }
    first: dict[str, str] = {}
    for name, backbone in built.items():
        attentions = [layer for layer in backbone.layers if isinstance(layer, Attention)]
        if all(layer.operations <= set(space.primitives) for layer in attentions):
            first.setdefault(backbone.key(), name)
    return {name: built[name] for name in first.values()}


def students(teacher: Backbone, depth: int) -> dict[str, Backbone]:
    """Students that people derive from a model: its own layers, with convolutions between, convolutions only.

    Args:
        teacher: Backbone of the model.
        depth: Number of layers, at most the teacher's.

    Returns:
        The layers of the teacher evenly over its depth; convolutions of 9, 7, 3, ... alternating with them;
        convolutions only.
    """
    own = [teacher.layers[position] for position in even_places(depth, len(teacher.layers))]
    pairs = zip(hybrid(depth).layers, own, strict=True)
    mixed = (by_hand if isinstance(by_hand, Convolution) else layer for by_hand, layer in pairs)
    return {
        "teacher-layers": Backbone(tuple(own)),
        "hybrid": Backbone(tuple(mixed)),
        "convolution": convolution(depth),
    }
