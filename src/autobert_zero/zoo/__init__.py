"""Published and reference backbones, with their sizes and sources."""

from autobert_zero.zoo.backbones import (
    attention_only,
    autobert_zero_base,
    convolution_only,
    efficient_attention,
    lite_transformer,
)
from autobert_zero.zoo.entries import ZOO, Entry, find
from autobert_zero.zoo.layers import STANDARD, known_layers
from autobert_zero.zoo.listing import list_zoo
from autobert_zero.zoo.opponents import Opponent, known_backbones, opponents, students
from autobert_zero.zoo.stacks import (
    STACKS,
    bert,
    convolution,
    gated_convolution,
    hybrid,
    rotary,
    rotary_hybrid,
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
