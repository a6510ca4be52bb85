"""Costs are those of the real model."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from strategies import backbones, trunks
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from autobert_zero import cost
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import Context
from autobert_zero.space import Attention, Backbone, Convolution, Node, parse_formula
from autobert_zero.zoo import STANDARD, autobert_zero_base

SMALL = EncoderConfig(vocab_size=23, width=8, heads=2, max_positions=10)
BERT = Attention(parse_formula(STANDARD))


@settings(max_examples=60)
@given(backbones(), trunks(vocab_size=7, width=12, heads=3, max_positions=70))
def test_parameters_are_those_of_the_model(backbone: Backbone, config: EncoderConfig) -> None:
    model = MaskedLM(backbone, config)
    assert cost.parameters(backbone, config) == sum(p.numel() for p in model.parameters())


def test_parameters_of_the_two_trunks() -> None:
    base = EncoderConfig(vocab_size=30522, width=768, heads=12)
    bert = Backbone((BERT,) * 12)
    assert cost.parameters(bert, base) == 109_514_298
    modern = replace(base, norm="pre", feed_forward_kind="geglu", positions="none", biases=False)
    embeddings = (30522 + 2) * 768 + 768
    layers = 12 * (4 * 768 * 768 + 3 * 768 * 2048 + 2 * 768)  # geglu: two thirds of 3,072 inside
    head = 768 * 768 + 768 + 30522
    assert cost.parameters(bert, modern) == embeddings + layers + head


def test_flops_of_berts_layer_by_hand() -> None:
    # n = 5 tokens, d = 8, 2 heads of 4, inner width 32; a multiply-add is two.
    projections = 2 * 5 * 8 * 24 + 2 * 5 * 8 * 8  # Q, K, V; output: 1920 + 640
    scores = 2 * (2 * 5 * 5 * 4)  # 400
    scaled = 2 * (5 * 5)  # 50
    softmax = 2 * (5 * 5 * 5)  # 250
    mixed = 2 * (2 * 5 * 5 * 4)  # 400
    feed_forward = 2 * (2 * 5 * 8 * 32)  # 5120
    total = projections + scores + scaled + softmax + mixed + feed_forward
    assert total == 8780
    assert cost.layer_cost(BERT, SMALL, tokens=5).flops == total


def test_flops_of_a_convolution_by_hand() -> None:
    # Projections to 2d and back, 1280 + 640; kernel 3 over 5 x 8 values, 240; feed-forward 5120.
    assert cost.layer_cost(Convolution(3), SMALL, tokens=5).flops == 7280
    assert cost.layer_cost(Convolution(65), SMALL, tokens=5).flops == 7280 + 2 * 5 * 8 * 62


def test_parameters_of_a_layer_by_hand() -> None:
    # Feed-forward 8*32 + 32 + 32*8 + 8, two norms of 16, projections of three inputs and the output.
    assert cost.layer_cost(BERT, SMALL, 1).parameters == 552 + 32 + (8 * 24 + 24) + (8 * 8 + 8)
    # GLU projection to 16, output, two heads of 7 weights.
    assert cost.layer_cost(Convolution(7), SMALL, 1).parameters == 552 + 32 + (8 * 16 + 16) + (8 * 8 + 8) + 14


@pytest.mark.parametrize(
    "formula",
    [
        STANDARD,
        "Q @ (softmax(K.T) @ V)",
        "softmax(scale(Q @ -logsigmoid(-K).T)) @ (Q + K)",
        "Q @ K.T @ V @ P.T @ Q",
    ],
)
@pytest.mark.parametrize("tokens", [5, 13])
def test_matrix_products_are_those_that_run(formula: str, tokens: int) -> None:
    graph = parse_formula(formula)
    width, heads, batch = 8, 2, 3
    x = torch.randn(batch, tokens, width)
    with FlopCounterMode(display=False) as counter:
        projected = F.linear(x, torch.randn(len(graph.inputs) * width, width))
        parts = projected.unflatten(-1, (len(graph.inputs), heads, width // heads)).permute(2, 0, 3, 1, 4)
        mixed = Interpreter(graph)(dict(zip(graph.inputs, parts, strict=True)), Context(width // heads, None))
        y = F.linear(mixed.transpose(1, 2).flatten(2), torch.randn(width, width))
        F.linear(F.linear(y, torch.randn(32, width)), torch.randn(width, 32))
    dims = {"n": tokens, "d": width // heads}
    entrywise = heads * sum(entrywise_flops(node, dims) for node in graph.nodes)
    counted = cost.layer_cost(Attention(graph), SMALL, tokens).flops
    assert batch * (counted - entrywise) == counter.get_total_flops()


def entrywise_flops(node: Node, dims: dict[str, int]) -> int:
    per_entry = {"scale": 1, "softmax": 5, "neg": 1, "logsigmoid": 1, "softsign": 1, "add": 1}
    return per_entry.get(node.op, 0) * dims[node.type[0]] * dims[node.type[1]]


def test_shared_nodes_are_counted_once() -> None:
    def flops(formula: str) -> int:
        return cost.layer_cost(Attention(parse_formula(formula)), SMALL, tokens=5).flops

    # One softsign of 5 x 4 in each of two heads, and one more addition of the same size.
    assert flops("softsign(Q) + softsign(Q) + K") - flops("softsign(Q) + K") == 2 * 20
    assert flops("(Q @ K.T) @ V") == flops("(Q @ K.T.T.T) @ V")


def test_flops_grow_with_the_square_of_the_tokens_in_attention_only() -> None:
    base = EncoderConfig(vocab_size=30522, width=768, heads=12)
    per_token = [cost.layer_cost(Convolution(9), base, tokens).flops / tokens for tokens in (128, 512)]
    assert per_token[0] == per_token[1]
    attention = [cost.layer_cost(BERT, base, tokens).flops / tokens for tokens in (128, 512)]
    assert attention[1] > attention[0]
    backbone = autobert_zero_base()
    assert cost.flops(backbone, base, 128) == sum(
        cost.layer_cost(layer, base, 128).flops for layer in backbone.layers
    )
