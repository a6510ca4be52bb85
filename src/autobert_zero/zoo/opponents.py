"""Layers and stacks built by hand, which a search may start from and has to beat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from autobert_zero.space import Attention, Backbone, Convolution, Space
from autobert_zero.space.inheritance import even_places
from autobert_zero.zoo.backbones import LINEAR, STANDARD, alternating, attention, bert, convolution, hybrid

ROTARY = "softmax(scale(rotary(Q) @ rotary(K).T)) @ V"
"""Attention with rotary positions (Su et al. 2021): the layer of ModernBERT (Warner et al. 2024)."""

GATED_ROTARY = f"{ROTARY} * sigmoid(P)"
"""The same with a sigmoid gate on its result (Qiu et al. 2025, Gated Attention)."""

NORMALISED_ROTARY = "softmax(amplify(cosine(rotary(Q), rotary(K)))) @ V"
"""The same with normalised queries and keys (Henry et al. 2020)."""

GATED_CONVOLUTION = "P * (previous(Q) + K + next(V))"
"""A gated convolution over three tokens whose taps are full matrices, after LFM2 (Liquid AI 2025)."""

_POSITION_AWARE = {
    "rotary attention": ROTARY,
    "gated rotary attention": GATED_ROTARY,
    "normalised rotary attention": NORMALISED_ROTARY,
    "gated convolution": GATED_CONVOLUTION,
}
_POSITION_FREE = {"standard attention": STANDARD, "linear attention": LINEAR}

BERT_TRUNK: dict[str, Any] = {
    "norm": "post",
    "feed_forward_kind": "gelu",
    "positions": "learned",
    "biases": True,
}
"""Settings of `EncoderConfig` that BERT was published with."""
MODERN_TRUNK: dict[str, Any] = {
    "norm": "pre",
    "feed_forward_kind": "geglu",
    "positions": "none",
    "biases": False,
}
"""Those of the modern presets: the trunk of ModernBERT, without a limit to the length."""


@dataclass(frozen=True)
class Opponent:
    """A stack that a search compares its winner with.

    Attributes:
        build: Builds the backbone of a depth.
        trunk: Settings of `EncoderConfig` that differ from the run's.
    """

    build: Callable[[int], Backbone]
    trunk: Mapping[str, Any] = field(default_factory=dict)


def known_layers(primitives: tuple[str, ...]) -> dict[str, Attention]:
    """The known attention layers that a set of primitives can express, by name.

    Where `rotary` is among them, attentions that do not know the order of tokens by themselves are left out.
    """
    formulas = _POSITION_AWARE if "rotary" in primitives else _POSITION_AWARE | _POSITION_FREE
    layers = {name: attention(formula) for name, formula in formulas.items()}
    allowed = set(primitives)
    return {name: layer for name, layer in layers.items() if layer.operations <= allowed}


def rotary(layers: int) -> Backbone:
    """Rotary attention in every layer: in a modern trunk, ModernBERT with all layers global."""
    return Backbone((attention(ROTARY),) * layers)


def rotary_hybrid(layers: int) -> Backbone:
    """Convolutions of 9, 7, 3, ... alternate with rotary attention."""
    return alternating(layers, cycle((9, 7, 3)), ROTARY)


def wide_hybrid(layers: int) -> Backbone:
    """Convolutions of 15, 31, ... alternate with rotary attention."""
    return alternating(layers, cycle((15, 31)), ROTARY)


def gated_convolution(layers: int) -> Backbone:
    """Two gated convolutions, then one rotary attention, and so on: about LFM2's ratio."""
    return Backbone(
        tuple(attention(ROTARY if index % 3 == 2 else GATED_CONVOLUTION) for index in range(layers))
    )


STACKS: dict[str, Callable[[int], Backbone]] = {
    "bert": bert,
    "hybrid": hybrid,
    "convolution": convolution,
    "rotary": rotary,
    "rotary-hybrid": rotary_hybrid,
    "wide-hybrid": wide_hybrid,
    "gated-convolution": gated_convolution,
}
"""Reference backbones of any depth, by the names that commands take."""


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
