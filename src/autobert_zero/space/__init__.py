"""The search space: primitives, typed attention graphs and backbones, sampled and mutated.

Standard library only, so that a search over 10,000 candidates is a unit test of milliseconds.
"""

from autobert_zero.space.backbone import (
    KERNEL_SIZES,
    LAYER_KINDS,
    Attention,
    Backbone,
    CanonicalBackbone,
    Convolution,
    Layer,
)
from autobert_zero.space.canonical import canonical
from autobert_zero.space.errors import FormulaError, SpaceError
from autobert_zero.space.formula import format_node, parse_formula
from autobert_zero.space.graph import Graph, Node
from autobert_zero.space.primitives import (
    INPUTS,
    PAPER,
    PRIMITIVES,
    SETS,
    Primitive,
    check_head_dim,
    choose_primitives,
)
from autobert_zero.space.sample import Space, count_backbones, count_graphs, sample_backbone, sample_graph

__all__ = [
    "INPUTS",
    "KERNEL_SIZES",
    "LAYER_KINDS",
    "PAPER",
    "PRIMITIVES",
    "SETS",
    "Attention",
    "Backbone",
    "CanonicalBackbone",
    "Convolution",
    "FormulaError",
    "Graph",
    "Layer",
    "Node",
    "Primitive",
    "Space",
    "SpaceError",
    "canonical",
    "check_head_dim",
    "choose_primitives",
    "count_backbones",
    "count_graphs",
    "format_node",
    "parse_formula",
    "sample_backbone",
    "sample_graph",
]
