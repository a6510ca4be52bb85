"""Padding is exact for every graph: its content and its amount never reach a real token."""

from random import Random

import pytest
import torch
from hypothesis import given, settings
from nn_samples import PUBLISHED, graph_of, mask_of, padded_at_either_end, seeds, tensors_of
from torch import Tensor

from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import Context
from autobert_zero.space import Graph


def _run(graph: Graph, inputs: dict[str, Tensor], mask: Tensor | None) -> Tensor:
    return Interpreter(graph)(inputs, Context(inputs["Q"].shape[-1], mask))


@given(seeds)
@settings(max_examples=400, deadline=None)
def test_the_content_of_padding_never_reaches_a_real_token(seed: int) -> None:
    random = Random(seed)
    tokens, width = random.randint(2, 7), random.choice([2, 4, 6])
    graph, inputs = graph_of(seed), tensors_of(seed, tokens, width)
    mask = padded_at_either_end(random, tokens)
    other = {
        name: torch.where(mask[:, None, :, None], value, 100 * value.flip(-1))
        for name, value in inputs.items()
    }
    real = mask[:, None, :, None].expand(-1, 2, -1, width)
    expected, got = _run(graph, inputs, mask), _run(graph, other, mask)
    assert expected.isfinite().all()
    assert got.isfinite().all()
    assert torch.equal(expected[real], got[real])


@given(seeds)
@settings(max_examples=400, deadline=None)
def test_the_amount_of_padding_never_reaches_a_real_token(seed: int) -> None:
    random = Random(seed)
    tokens, width, padding = random.randint(1, 6), random.choice([2, 4, 6]), random.randint(1, 4)
    graph, inputs = graph_of(seed), tensors_of(seed, tokens + padding, width)
    padded = _run(graph, inputs, mask_of([tokens, tokens], tokens + padding))[:, :, :tokens]
    alone = _run(graph, {name: value[:, :, :tokens] for name, value in inputs.items()}, None)
    torch.testing.assert_close(padded, alone, rtol=1e-9, atol=1e-9 * float(alone.abs().max()))


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_no_gradient_flows_from_real_tokens_to_padding(seed: int) -> None:
    random = Random(seed)
    tokens, width = random.randint(2, 7), random.choice([2, 4, 6])
    graph = graph_of(seed)
    mask = padded_at_either_end(random, tokens)
    inputs = {name: value.requires_grad_() for name, value in tensors_of(seed, tokens, width).items()}
    output = _run(graph, inputs, mask)
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed), dtype=output.dtype)
    (output * weight * mask[:, None, :, None]).sum().backward()
    for name in graph.inputs:
        gradient = inputs[name].grad
        assert gradient is not None
        assert gradient.isfinite().all()
        assert not gradient.masked_fill(mask[:, None, :, None], 0.0).any()


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_a_row_of_padding_only_gives_finite_numbers(seed: int) -> None:
    graph = graph_of(seed)
    inputs = {name: value.float().requires_grad_() for name, value in tensors_of(seed, 4, 4).items()}
    output = _run(graph, inputs, mask_of([4, 0], 4))
    assert output.isfinite().all()
    output[:1].sum().backward()
    assert all(inputs[name].grad.isfinite().all() for name in graph.inputs)  # type: ignore[union-attr]


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_identical_rows_have_finite_gradients(seed: int) -> None:
    graph = graph_of(seed)
    row = tensors_of(seed, 1, 4)["Q"].float()
    inputs = {name: row.expand(-1, -1, 4, -1).clone().requires_grad_() for name in graph.inputs}
    output = Interpreter(graph)(inputs, Context(4, None))
    assert output.isfinite().all()
    output.sum().backward()
    assert all(value.grad.isfinite().all() for value in inputs.values())  # type: ignore[union-attr]


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_tokens_have_no_order(seed: int) -> None:
    """The paper's graphs are equivariant to permutations of the tokens: only embeddings have an order."""
    graph, inputs = graph_of(2 * seed), tensors_of(seed, 5, 3)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    expected = _run(graph, inputs, None)[:, :, order]
    got = _run(graph, {name: value[:, :, order] for name, value in inputs.items()}, None)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_graphs_by_hand(name: str) -> None:
    inputs = tensors_of(7, 6, 4)
    q, k, v = inputs["Q"], inputs["K"], inputs["V"]

    def attend(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return torch.softmax(a @ b.mT / 4**0.5, -1) @ c

    def softsign(x: Tensor) -> Tensor:
        return x / (1 + x.abs())

    softplus = torch.nn.functional.softplus
    expected = {
        "bert": lambda: attend(q, k, v),
        "layer 2": lambda: attend(q, softplus(k), q + k),
        "layer 4": lambda: attend(q, softplus(-(q + k - softplus(-q))), q),
        "layer 6": lambda: attend(q, softplus(-k), q),
        "layer 10": lambda: attend(q, k / 2 + softsign(softsign(k) / 2) + v, v),
        "layer 12": lambda: attend(q, k / 2 + v, v),
        "linear": lambda: q @ (torch.softmax(k.mT, -1) @ v),
    }[name]()
    torch.testing.assert_close(_run(PUBLISHED[name], inputs, None), expected)
