"""Attention layers of the literature as formulas, with their sources."""

from autobert_zero.space import Attention, parse_formula

STANDARD = "softmax(scale(Q @ K.T)) @ V"
"""Scaled dot-product attention (Vaswani et al. 2017), the only layer of BERT."""

LINEAR = "softmax(Q) @ (softmax(K.T) @ V)"
"""Linear attention (Shen et al. 2021)."""

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


def known_layers(primitives: tuple[str, ...]) -> dict[str, Attention]:
    """The known attention layers that a set of primitives can express, by name.

    Where `rotary` is among them, attentions that do not know the order of tokens by themselves are left out.
    """
    formulas = _POSITION_AWARE if "rotary" in primitives else _POSITION_AWARE | _POSITION_FREE
    layers = {name: attention(formula) for name, formula in formulas.items()}
    allowed = set(primitives)
    return {name: layer for name, layer in layers.items() if layer.operations <= allowed}


def attention(formula: str) -> Attention:
    """The attention layer of a formula."""
    return Attention(parse_formula(formula))
