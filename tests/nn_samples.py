"""Random graphs, backbones and padded batches for the tests of `autobert_zero.nn`, all from one seed."""

from random import Random

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.encoder import Embeddings
from autobert_zero.nn.layer import EncoderLayer
from autobert_zero.space import (
    INPUTS,
    PAPER,
    SETS,
    Backbone,
    Graph,
    Space,
    parse_formula,
    sample_backbone,
    sample_graph,
)

BERT = parse_formula("softmax(scale(Q @ K.T)) @ V")

PUBLISHED = {
    name: parse_formula(formula)
    for name, formula in {
        "bert": "softmax(scale(Q @ K.T)) @ V",
        "layer 2": "softmax(scale(Q @ (-logsigmoid(-K)).T)) @ (Q + K)",
        "layer 4": "softmax(scale(Q @ (-logsigmoid(logsigmoid(Q) + (Q + K))).T)) @ Q",
        "layer 6": "softmax(scale(Q @ (-logsigmoid(K)).T)) @ Q",
        "layer 10": "softmax(scale(Q @ (scale(K) + (softsign(scale(softsign(K))) + V)).T)) @ V",
        "layer 12": "softmax(scale(Q @ (scale(K) + V).T)) @ V",
        "linear": "Q @ (softmax(K.T) @ V)",
    }.items()
}
"""The paper's layers, and linear attention."""

seeds = st.integers(0, 2**32 - 1)
"""Each seed stands for one random example."""

SMALL = EncoderConfig(vocab_size=23, width=8, heads=2, max_positions=80)


def graph_of(seed: int, max_ops: int = 12) -> Graph:
    """A random graph: of the paper's primitives where the seed is even, else of all."""
    return sample_graph(Random(seed), max_ops, SETS["modern"] if seed % 2 else PAPER)


def backbone_of(seed: int, layers: int = 2) -> Backbone:
    """A random backbone of small graphs and convolutions, its primitives as in `graph_of`."""
    primitives = SETS["modern"] if seed % 2 else PAPER
    return sample_backbone(Random(seed), Space(layers, max_ops=8, primitives=primitives))


def layers_of(model: nn.Module) -> list[EncoderLayer]:
    """The layers of a model's encoder; `encoder.layers` does not tell a type checker what they are."""
    return [part for part in model.modules() if isinstance(part, EncoderLayer)]


def positions_of(embeddings: Embeddings) -> Tensor:
    """The table of learned positions."""
    assert embeddings.position is not None
    return embeddings.position.weight


def tensors_of(seed: int, tokens: int, width: int, batch: int = 2, heads: int = 2) -> dict[str, Tensor]:
    """Random float64 values (B, H, n, d_h) for all four inputs."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(INPUTS), batch, heads, tokens, width)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return dict(zip(INPUTS, values.unbind(0), strict=True))


def mask_of(lengths: list[int], tokens: int) -> Tensor:
    """(B, n) booleans, True at the first `lengths[b]` tokens of row b."""
    return torch.arange(tokens)[None] < torch.tensor(lengths)[:, None]


def padded_at_either_end(random: Random, tokens: int) -> Tensor:
    """(2, n) booleans, False at up to n - 1 tokens of each row, all at its end or all at its start."""
    mask = mask_of([random.randint(1, tokens), random.randint(1, tokens)], tokens)
    return mask if random.random() < 0.5 else mask.flip(-1)
