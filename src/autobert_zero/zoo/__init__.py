"""Published and reference backbones, with their sizes and sources."""

from autobert_zero.zoo.backbones import (
    STANDARD,
    attention_only,
    autobert_zero_base,
    bert,
    convolution,
    convolution_only,
    efficient_attention,
    hybrid,
    lite_transformer,
)
from autobert_zero.zoo.entries import ZOO, Entry, find
from autobert_zero.zoo.listing import list_zoo
from autobert_zero.zoo.opponents import (
    STACKS,
    Opponent,
    gated_convolution,
    known_backbones,
    known_layers,
    opponents,
    rotary,
    rotary_hybrid,
    students,
    wide_hybrid,
)

__all__ = [
    "STACKS",
    "STANDARD",
    "ZOO",
    "Entry",
    "Opponent",
    "attention_only",
    "autobert_zero_base",
    "bert",
    "convolution",
    "convolution_only",
    "efficient_attention",
    "find",
    "gated_convolution",
    "hybrid",
    "known_backbones",
    "known_layers",
    "list_zoo",
    "lite_transformer",
    "opponents",
    "rotary",
    "rotary_hybrid",
    "students",
    "wide_hybrid",
]
