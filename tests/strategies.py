"""What the property tests draw: members of the search space, sampled and then mutated a few times.

Hypothesis draws the seed, the project's own sampler does the rest, so the tests see what a search sees.
"""

from random import Random
from typing import Any, get_args

from hypothesis import strategies as st

from autobert_zero.encoder_config import EncoderConfig, FeedForwardKind, Norm, Positions
from autobert_zero.space import SETS, Backbone, Graph, Space, sample_backbone, sample_graph
from autobert_zero.space.mutate import draw_uniformly, mutate_attention, mutate_graph, mutate_layer_type

seeds = st.integers(0, 2**32 - 1)
randoms = st.builds(Random, seeds)


@st.composite
def graphs(draw: st.DrawFn, max_ops: int = 14) -> Graph:
    """Attention graphs of up to `max_ops` operations, of the paper's primitives or of all."""
    random, primitives = Random(draw(seeds)), SETS[draw(st.sampled_from(sorted(SETS)))]
    graph = sample_graph(random, max_ops, primitives)
    for _ in range(draw(st.integers(0, 3))):
        graph, _ = mutate_graph(random, graph, max_ops, draw_uniformly, primitives)
    return graph


@st.composite
def backbones(draw: st.DrawFn) -> Backbone:
    """Backbones of up to six layers."""
    random = Random(draw(seeds))
    space = Space(layers=random.randint(1, 6), primitives=SETS[draw(st.sampled_from(sorted(SETS)))])
    backbone = sample_backbone(random, space)
    for _ in range(draw(st.integers(0, 3))):
        backbone, _ = mutate_layer_type(random, backbone, space)
        backbone, _ = mutate_attention(random, backbone, space, lambda index: draw_uniformly)
    return backbone


@st.composite
def trunks(draw: st.DrawFn, /, **sizes: Any) -> EncoderConfig:
    """Every trunk, at the given sizes."""
    return EncoderConfig(
        **sizes,
        feed_forward=draw(st.sampled_from([0, 5])),
        norm=draw(st.sampled_from(get_args(Norm))),
        feed_forward_kind=draw(st.sampled_from(get_args(FeedForwardKind))),
        positions=draw(st.sampled_from(get_args(Positions))),
        biases=draw(st.booleans()),
    )
