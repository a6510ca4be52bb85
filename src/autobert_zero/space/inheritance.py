"""Plans which weights each layer of a backbone inherits from which layer of another, by structure alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autobert_zero.errors import UserError, counted
from autobert_zero.space import types
from autobert_zero.space.backbone import Attention, Backbone, Convolution, Layer
from autobert_zero.space.canonical import canonical, canonical_inputs
from autobert_zero.space.graph import Graph, Node
from autobert_zero.space.primitives import INPUTS

_PAIRWISE = ("matmul", "cosine", "euclidean")
"""Operations that compare tokens: (n, d) and (d, n) or (n, d) to (n, n)."""

_LETTERS = {"query": "Q", "key": "K", "value": "V", "gate": "P"}
"""The input that shared weights have for each role."""


@dataclass(frozen=True)
class LayerInheritance:
    """The weights that a layer inherits. Output projection, norms and feed-forward block always fit.

    Attributes:
        source: Index of the layer that it inherits from.
        whole: Whether the layers are the same, so that every weight fits.
        inputs: Inputs of an attention that inherit their projection, each with the input of the source.
        kernel: Whether a convolution inherits its projection and the centre of its kernel.
        new: Names of the newly initialised weights, for people.
    """

    source: int
    whole: bool
    inputs: Mapping[str, str] = field(default_factory=dict)
    kernel: bool = False
    new: tuple[str, ...] = ()


def roles(graph: Graph) -> dict[str, str]:
    """The role of each input: query and key are compared, values are mixed, gates do the rest.

    Returns:
        Input to `query`, `key`, `value` or `gate`. An input with several roles has the first of this order.
    """
    sides: dict[str, set[str]] = {"query": set(), "key": set(), "value": set()}
    for node in graph.nodes:
        if len(node.args) != 2:
            continue
        left, right = node.args
        if node.op in _PAIRWISE and node.type == types.NN and types.NN not in (left.type, right.type):
            sides["query"] |= _inputs_below(left)
            sides["key"] |= _inputs_below(right)
        elif node.op == "matmul" and types.NN in (left.type, right.type) and node.type != types.NN:
            sides["value"] |= _inputs_below(right if left.type == types.NN else left)
    return {
        name: next((role for role, names in sides.items() if name in names), "gate") for name in graph.inputs
    }


def even_places(depth: int, limit: int) -> tuple[int, ...]:
    """Chooses layers of a deeper model evenly, the last of each stretch: 2, 4, 6 of 6 for 3, from 0 on."""
    return tuple(max((index + 1) * limit // depth - 1, 0) for index in range(depth))


def plan_inheritance(backbone: Backbone, source: Backbone) -> tuple[LayerInheritance, ...]:
    """Chooses a source layer for each layer, evenly over the depth, and what fits of it.

    With fewer layers than the source the last of each stretch is taken: 2, 4, 6 of 6 for 3.

    Raises:
        UserError: The backbone is deeper than the source.
    """
    depth, limit = len(backbone.layers), len(source.layers)
    if depth > limit:
        raise UserError(
            f"the backbone has {counted(depth, 'layer')}, the model that it starts from {limit}; "
            f"choose at most {limit}"
        )
    return tuple(
        _inherit(layer, source.layers[position], position)
        for layer, position in zip(backbone.layers, even_places(depth, limit), strict=True)
    )


def describe_inheritance(plan: Sequence[LayerInheritance], backbone: Backbone) -> list[str]:
    """One line per layer: the source of its weights, and what is newly initialised."""
    lines = []
    for number, (inherited, layer) in enumerate(zip(plan, backbone.layers, strict=True), 1):
        if inherited.whole:
            what = "all weights"
        else:
            parts = ["output projection", "norms", "feed-forward"]
            if inherited.inputs:
                parts.insert(0, "projections of " + ", ".join(inherited.inputs))
            if inherited.kernel:
                parts.insert(0, "input projection and kernel")
            what = ", ".join(parts)
        new = f"; new: {', '.join(inherited.new)}" if inherited.new else ""
        lines.append(f"layer {number}, {layer}: from layer {inherited.source + 1}: {what}{new}")
    return lines


def inputs_by_role(graph: Graph) -> tuple[str, ...]:
    """The input of shared weights (Q, K, V or P) for each input of a graph: query, key, value and gate.

    The first input of a role takes its letter; the others take those that are left, in their order. Both are
    of the canonical form, so that graphs that are equal by algebra share the same inputs.
    """
    own = roles(canonical(graph))
    chosen: dict[str, str] = {}
    for name, role in own.items():
        if _LETTERS[role] not in chosen.values():
            chosen[name] = _LETTERS[role]
    left = [letter for letter in INPUTS if letter not in chosen.values()]
    for name in own:
        if name not in chosen:
            chosen[name] = left.pop(0)
    names = canonical_inputs(graph)
    return tuple(chosen[names[name]] for name in graph.inputs)


def _inherit(layer: Layer, source: Layer, position: int) -> LayerInheritance:
    if layer == source:
        return LayerInheritance(position, True)
    if isinstance(layer, Convolution):
        if isinstance(source, Convolution) and layer.kernel <= source.kernel:
            return LayerInheritance(position, False, kernel=True)
        return LayerInheritance(position, False, new=("input projection", "kernel"))
    if not isinstance(source, Attention):
        return LayerInheritance(position, False, new=_projections(layer.graph.inputs))
    if layer.canonical_code == source.canonical_code:
        original = {new: own for own, new in canonical_inputs(source.graph).items()}
        inputs = {own: original[new] for own, new in canonical_inputs(layer.graph).items()}
    else:
        inputs = _matched(roles(layer.graph), roles(source.graph))
    missing = [name for name in layer.graph.inputs if name not in inputs]
    return LayerInheritance(position, False, inputs, new=_projections(missing))


def _matched(own_roles: Mapping[str, str], source_roles: Mapping[str, str]) -> dict[str, str]:
    """Inputs of the same role; where a role has several, of the same letter, then in their order."""
    matched: dict[str, str] = {}
    for role in dict.fromkeys(own_roles.values()):
        names = [name for name, own_role in own_roles.items() if own_role == role]
        left = [name for name, own_role in source_roles.items() if own_role == role]
        for name in [name for name in names if name in left]:
            matched[name] = name
            left.remove(name)
        matched |= zip([name for name in names if name not in matched], left, strict=False)
    return {name: matched[name] for name in own_roles if name in matched}


def _projections(names: Sequence[str]) -> tuple[str, ...]:
    return ("projections of " + ", ".join(names),) if names else ()


def _inputs_below(node: Node) -> set[str]:
    return {operand.op for operand in node.walk() if operand.op in INPUTS}
