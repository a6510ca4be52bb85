"""Published and reference backbones, with their sizes and sources."""

from autobert_zero.zoo.backbones import (
    OPPONENTS,
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

__all__ = [
    "OPPONENTS",
    "STANDARD",
    "ZOO",
    "Entry",
    "attention_only",
    "autobert_zero_base",
    "bert",
    "convolution",
    "convolution_only",
    "efficient_attention",
    "find",
    "hybrid",
    "list_zoo",
    "lite_transformer",
]
