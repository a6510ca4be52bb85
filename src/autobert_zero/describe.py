"""A backbone in words and figures."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from autobert_zero import cost
from autobert_zero.compile import Plan, describe_plan, make_plan
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import counted
from autobert_zero.space import Attention, Backbone, Layer, check_head_dim
from autobert_zero.space.formula import describe_nodes

_BYTES = 4  # single precision


def describe_backbone(
    backbone: Backbone,
    sizes: EncoderConfig,
    length: int,
    measured: Mapping[Layer, cost.Measured] | None = None,
) -> str:
    """Describes every layer: canonical form, types of all nodes, compiled steps and cost.

    Args:
        backbone: Any backbone.
        sizes: Sizes of the model.
        length: Tokens in a sequence.
        measured: Results of `measure.measure_backbone` at these sizes.

    Raises:
        UserError: An operation needs another head dimension.
    """
    width, heads = sizes.width, sizes.heads
    check_head_dim(backbone.operations, width, heads)
    canonical = backbone.canonical()
    lines = [
        f"key {backbone.key()}, n = tokens, d = {width // heads} per head "
        f"(d_model {width}, {counted(heads, 'head')})"
    ]
    for number, layer in enumerate(canonical.layers, start=1):
        lines += ["", f"layer {number}: {layer}", *_layer_lines(layer, sizes, length)]
        if measured is not None:
            times = measured[layer]
            lines.append(
                f"    measured: forward {times.forward * 1e3:,.2f} ms, forward and backward "
                f"{times.training * 1e3:,.2f} ms, {times.kept / 1e6:,.1f} MB kept for the backward pass"
            )
    total, flops = cost.parameters(canonical, sizes), cost.flops(canonical, sizes, length)
    lines += [
        "",
        f"{total:,} parameters with embeddings ({sizes.vocab_size:,} tokens) and MLM head, "
        f"{flops / 1e9:,.3f} GFLOPs per sequence of {length} tokens in the encoder",
    ]
    if sizes.trunk_changes:
        lines.append(f"trunk: {sizes.trunk_changes}")
    if measured is not None:
        forward, training, kept = (
            sum(getattr(measured[layer], name) for layer in canonical.layers)
            for name in ("forward", "training", "kept")
        )
        lines.append(
            f"measured, sum of the layers: forward {forward * 1e3:,.1f} ms, forward and backward "
            f"{training * 1e3:,.1f} ms, {kept / 1e6:,.1f} MB kept for the backward pass"
        )
    return "\n".join(lines)


def plain_backbone(
    backbone: Backbone,
    sizes: EncoderConfig,
    length: int,
    measured: Mapping[Layer, cost.Measured] | None = None,
) -> dict[str, Any]:
    """The figures of `describe_backbone`, whose arguments it takes, as plain data; times are in seconds."""
    canonical = backbone.canonical()
    return {
        "key": backbone.key(),
        "sizes": asdict(sizes),
        "parameters": cost.parameters(canonical, sizes),
        "flops": cost.flops(canonical, sizes, length),
        "layers": [
            {
                "layer": str(layer),
                "types": dict(describe_nodes(layer.graph)) if isinstance(layer, Attention) else {},
                **asdict(cost.layer_cost(layer, sizes, length)),
                **({} if measured is None else {"measured": asdict(measured[layer])}),
            }
            for layer in canonical.layers
        ],
    }


def _layer_lines(layer: Layer, sizes: EncoderConfig, length: int) -> list[str]:
    spent = cost.layer_cost(layer, sizes, length)
    lines = []
    largest = length * sizes.inner
    if isinstance(layer, Attention):
        nodes = describe_nodes(layer.graph)
        room = max(len(formula) for formula, _ in nodes)
        lines += [f"    {formula:<{room}}  {type_}" for formula, type_ in nodes]
        plan = make_plan(layer.graph)
        lines += ["    compiled:", *(f"      {line}" for line in describe_plan(plan).splitlines())]
        largest = max(largest, sizes.heads * _largest(plan, length, sizes.width // sizes.heads))
    lines.append(
        f"    {spent.parameters:,} parameters ({spent.parameters * _BYTES / 1e6:,.1f} MB), "
        f"{spent.flops / 1e6:,.1f} MFLOPs, largest value {largest * _BYTES / 1e6:,.2f} MB per sequence of "
        f"{length} tokens, in single precision"
    )
    return lines


def _largest(plan: Plan, tokens: int, head_dim: int) -> int:
    """Entries of the largest value that a plan makes, per head."""
    sizes = {"n": tokens, "d": head_dim}
    return max(sizes[step.type[0]] * sizes[step.type[1]] for step in plan.steps)
