"""A backbone in words and figures."""

from autobert_zero import cost
from autobert_zero.errors import UserError
from autobert_zero.space import Attention, Backbone
from autobert_zero.space.formula import describe_nodes


def describe_backbone(backbone: Backbone, width: int, heads: int, length: int, vocab_size: int) -> str:
    """Describes every layer: canonical form, types of all nodes, parameters and FLOPs.

    Args:
        backbone: Any backbone.
        width: Hidden size d.
        heads: Heads H, divides d.
        length: Tokens in a sequence.
        vocab_size: Tokens in the vocabulary.

    Raises:
        UserError: The sizes do not fit.
    """
    if width < 1 or heads < 1 or width % heads:
        raise UserError(f"width {width} is not divisible by {heads} heads")
    sizes = cost.Sizes(width, heads, 4 * width, vocab_size, max(length, 512))
    canonical = backbone.canonical()
    lines = [
        f"key {backbone.key()}, n = tokens, d = {width // heads} per head (d_model {width}, {heads} heads)"
    ]
    for number, layer in enumerate(canonical.layers, start=1):
        spent = cost.layer_cost(layer, sizes, length)
        lines += ["", f"layer {number}: {layer}"]
        if isinstance(layer, Attention):
            nodes = describe_nodes(layer.graph)
            room = max(len(formula) for formula, _ in nodes)
            lines += [f"    {formula:<{room}}  {type_}" for formula, type_ in nodes]
        lines.append(
            f"    {spent.parameters:,} parameters, {spent.flops / 1e6:,.1f} MFLOPs at {length} tokens"
        )
    total, flops = cost.parameters(canonical, sizes), cost.flops(canonical, sizes, length)
    lines += [
        "",
        f"{total:,} parameters with embeddings ({vocab_size:,} tokens) and MLM head, "
        f"{flops / 1e9:,.3f} GFLOPs a sequence of {length} tokens in the encoder",
    ]
    return "\n".join(lines)
