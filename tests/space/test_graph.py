"""Symbolic types tell the shapes of real tensors; codes and formulas tell the graph."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import graphs

from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import KERNELS, Context
from autobert_zero.space import INPUTS, PRIMITIVES, Graph, SpaceError, format_node, parse_formula
from autobert_zero.space.formula import describe_nodes
from autobert_zero.space.graph import INPUT_NODES, Node, apply, decode

SIZES = [(5, 4), (3, 6), (4, 4), (1, 2), (2, 2)]


@settings(max_examples=300)
@given(graphs(), st.integers(0, 99))
def test_type_of_every_node_is_the_shape_of_its_tensor(graph: Graph, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for tokens, width in SIZES:
        sizes = {"n": tokens, "d": width}
        inputs = {
            name: torch.randn(2, 1, tokens, width, generator=generator, dtype=torch.float64)
            for name in INPUTS
        }
        context = Context(width, None)
        values = {INPUT_NODES[name]: tensor for name, tensor in inputs.items()}
        for node in graph.nodes:
            if node.args:
                operands = [values[arg] for arg in node.args]
                values[node] = KERNELS[node.op](operands, [arg.type for arg in node.args], context)
            assert values[node].shape == (2, 1, sizes[node.type[0]], sizes[node.type[1]]), node
        torch.testing.assert_close(Interpreter(graph)(inputs, context), values[graph.root])


def test_every_primitive_has_a_kernel() -> None:
    assert set(KERNELS) == set(PRIMITIVES)


@given(graphs())
def test_a_graph_is_what_its_code_and_its_formula_say(graph: Graph) -> None:
    text = format_node(graph.root)
    for copy in (Graph(decode(graph.code)), parse_formula(text)):
        assert copy == graph
        assert copy.code == graph.code
        # Equal codes are equal expressions; types and sizes are worked out anew by each reader.
        assert [(node.op, node.type, node.size) for node in copy.root.walk()] == [
            (node.op, node.type, node.size) for node in graph.root.walk()
        ]
        assert format_node(copy.root) == text


@given(graphs())
def test_nodes_are_distinct_and_follow_their_operands(graph: Graph) -> None:
    seen: set[Node] = set()
    for node in graph.nodes:
        assert node not in seen
        assert seen.issuperset(node.args)
        seen.add(node)
    assert graph.nodes[-1] == graph.root
    assert seen == set(graph.root.walk())
    assert graph.operations == {node.op for node in seen if node.args}
    assert graph.inputs == tuple(name for name in INPUTS if INPUT_NODES[name] in seen)
    assert graph.root.size == sum(bool(node.args) for node in graph.root.walk())
    assert len(describe_nodes(graph)) == len(seen)


def test_standard_attention_by_hand() -> None:
    q, k, v = (INPUT_NODES[name] for name in "QKV")
    scores = apply("matmul", q, apply("transpose", k))
    graph = Graph(apply("matmul", apply("softmax", apply("scale", scores)), v))
    assert graph == parse_formula("softmax(scale(Q @ K.T)) @ V")
    assert graph.code == "@s/@0t12"
    assert graph.root.size == 5
    assert graph.inputs == ("Q", "K", "V")
    assert graph.operations == {"matmul", "softmax", "scale", "transpose"}
    assert describe_nodes(graph) == [
        ("Q", "(n, d)"),
        ("K", "(n, d)"),
        ("K.T", "(d, n)"),
        ("Q @ K.T", "(n, n)"),
        ("scale(Q @ K.T)", "(n, n)"),
        ("softmax(scale(Q @ K.T))", "(n, n)"),
        ("V", "(n, d)"),
        ("softmax(scale(Q @ K.T)) @ V", "(n, d)"),
    ]


@pytest.mark.parametrize(
    ("op", "operands", "says"),
    [
        ("sqrt", "Q", "unknown primitive 'sqrt'"),
        ("add", "Q", "add takes 2 operand"),
        ("neg", "QK", "neg takes 1 operand"),
        ("matmul", "QK", r"matmul expects \(a, b\) @ \(b, c\), got \(n, d\), \(n, d\)"),
    ],
)
def test_apply_refuses(op: str, operands: str, says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        apply(op, *(INPUT_NODES[name] for name in operands))


def test_graph_refuses_other_outputs_and_single_inputs() -> None:
    q, k = INPUT_NODES["Q"], INPUT_NODES["K"]
    with pytest.raises(SpaceError, match=r"output must be \(n, d\).*got \(n, n\)"):
        Graph(apply("cosine", q, k))
    with pytest.raises(SpaceError, match="at least 2 of the inputs Q, K, V, P, this one uses Q"):
        Graph(apply("add", q, q))
