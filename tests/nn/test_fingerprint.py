"""The functional fingerprint: the same for the same function, different otherwise."""

from itertools import combinations, permutations
from random import Random

import pytest
import torch
from hypothesis import given, settings
from nn_samples import PUBLISHED, graph_of, mask_of, seeds, tensors_of
from torch import Tensor

from autobert_zero.nn import fingerprint
from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import Context
from autobert_zero.space import INPUTS, Graph, canonical, parse_formula
from autobert_zero.space.graph import INPUT_NODES, Node


def _renamed(node: Node, names: dict[str, str]) -> Node:
    if not node.args:
        return INPUT_NODES[names[node.op]]
    return Node(node.op, tuple(_renamed(arg, names) for arg in node.args), node.type)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("scale(Q) @ K.T @ V", "scale(Q @ K.T) @ V"),
        ("-Q @ K.T @ V", "-(Q @ K.T) @ V"),
        ("-Q @ K.T @ V", "-(Q @ K.T @ V)"),
        ("(Q @ K.T) @ V", "Q @ (K.T @ V)"),
        ("(Q + K) + (V + scale(Q))", "((Q + K) + V) + scale(Q)"),
        ("softmax(Q @ K.T) @ V + softmax(Q @ K.T) @ P", "softmax(Q @ K.T) @ (V + P)"),
        ("softsign(-Q) + K", "-softsign(Q) + K"),
        ("cosine(scale(Q), K) @ V", "cosine(Q, K) @ V"),
        ("-scale(Q) + K", "scale(-Q) + K"),
        ("(Q + K) + (K + -K)", "Q + K"),
    ],
)
def test_what_algebra_misses_is_caught(one: str, other: str) -> None:
    a, b = parse_formula(one), parse_formula(other)
    assert canonical(a) != canonical(b)
    assert fingerprint(a) == fingerprint(b)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Q @ (K.T @ V)", "Q @ (V.T @ V)"),
        ("(Q @ K.T) @ V", "(K @ Q.T) @ Q"),
        ("softmax(Q @ K.T) @ Q", "softmax(K @ Q.T) @ Q + K + -K"),
        ("softmax(Q @ K.T) @ K", "softmax(Q @ K.T) @ Q"),
        ("Q @ (Q.T @ K)", "K @ (Q.T @ K)"),
        ("softmax(scale(Q @ K.T)) @ V", "softmax(Q @ K.T) @ V"),
        ("Q + K", "Q + V + P"),
        ("Q + -K", "Q + K"),
    ],
)
def test_different_functions_differ(one: str, other: str) -> None:
    """Among them operands in another order: matmul does not commute."""
    assert fingerprint(parse_formula(one)) != fingerprint(parse_formula(other))


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_names_of_inputs_do_not_matter(seed: int) -> None:
    graph = graph_of(seed)
    names = dict(zip(INPUTS, Random(seed).sample(INPUTS, len(INPUTS)), strict=True))
    assert fingerprint(Graph(_renamed(graph.root, names))) == fingerprint(graph)


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_the_canonical_form_computes_the_same(seed: int) -> None:
    graph = graph_of(seed)
    assert fingerprint(canonical(graph)) == fingerprint(graph)


def test_published_graphs_differ() -> None:
    assert len({fingerprint(graph) for graph in PUBLISHED.values()}) == len(PUBLISHED)


def _outputs(graph: Graph) -> list[Tensor]:
    """Outputs on inputs other than the fingerprint's own, one for each naming of the inputs."""
    inputs, mask = tensors_of(99, 5, 6), mask_of([5, 3], 5)
    program = Interpreter(graph)
    return [
        program(dict(zip(program.inputs, order, strict=True)), Context(6, mask))[
            mask[:, None].expand(2, 2, 5)
        ]
        for order in permutations(list(inputs.values())[: len(program.inputs)])
    ]


def test_equal_fingerprints_mean_equal_functions() -> None:
    """A few hundred small canonical graphs: whatever collides computes the same on fresh inputs."""
    graphs = {canonical(graph_of(seed, 5)) for seed in range(700)}
    assert len(graphs) > 300
    groups: dict[str, list[Graph]] = {}
    for graph in graphs:
        groups.setdefault(fingerprint(graph), []).append(graph)
    assert len(groups) > 250
    for group in groups.values():
        for a, b in combinations(group, 2):
            expected = _outputs(b)[0]
            assert any(torch.allclose(output, expected, rtol=1e-9, atol=1e-9) for output in _outputs(a))


def test_equal_functions_mean_equal_fingerprints() -> None:
    """The other way: no two graphs with different fingerprints agree on fresh inputs."""
    graphs = list({canonical(graph_of(seed, 4)) for seed in range(300)})
    computed = [(graph, fingerprint(graph), _outputs(graph)) for graph in graphs]
    for (_, mark, outputs), (_, other, others) in combinations(computed, 2):
        if mark != other:
            expected = others[0]
            assert not any(
                torch.allclose(output, expected, rtol=1e-12, atol=1e-12)
                for output in outputs
                if output.shape == expected.shape
            )


def test_it_is_sixteen_hex_digits() -> None:
    mark = fingerprint(PUBLISHED["bert"])
    assert len(mark) == 16
    assert int(mark, 16) >= 0
    assert fingerprint(parse_formula("softmax(scale(P @ Q.T)) @ K")) == mark
