"""Graphs that are equal by algebra have one form, which computes what they compute."""

from itertools import permutations
from random import Random

import pytest
import torch
from brute_force import all_graphs
from hypothesis import example, given, settings
from strategies import graphs, randoms

from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import Context
from autobert_zero.space import INPUTS, PRIMITIVES, Attention, Backbone, Graph, Node, canonical, parse_formula
from autobert_zero.space.canonical import canonical_code
from autobert_zero.space.graph import INPUT_NODES, apply


def key(formula: str) -> str:
    return Backbone((Attention(parse_formula(formula)),)).key()


@given(graphs(max_ops=20))
def test_idempotent(graph: Graph) -> None:
    form = canonical(graph)
    assert form.code == canonical_code(graph)
    assert canonical(form) == form
    assert form.inputs == INPUTS[: len(graph.inputs)]


@pytest.mark.parametrize("real", [(5, 5), (5, 3)], ids=["full", "padded"])
@settings(max_examples=300)
@given(graph=graphs())
def test_computes_the_same_function_up_to_the_names_of_inputs(graph: Graph, real: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(2, 1, 5, 4, generator=generator, dtype=torch.float64) for name in INPUTS}
    mask = torch.arange(5) < torch.tensor(real)[:, None]
    context = Context(4, None if mask.all() else mask)

    def outputs(graph: Graph, order: tuple[str, ...]) -> torch.Tensor:
        named = {new: inputs[old] for old, new in zip(order, graph.inputs, strict=True)}
        return Interpreter(graph)(named, context)[:, 0][mask]

    wanted = outputs(graph, graph.inputs)
    form = canonical(graph)
    distance = min((outputs(form, order) - wanted).abs().max().item() for order in permutations(graph.inputs))
    # Sums in another order differ in the last digits, which steep functions enlarge.
    assert distance <= 1e-7 * max(1.0, wanted.abs().max().item()), form


def disguised(random: Random, node: Node, naming: dict[str, str]) -> Node:
    """An expression equal to `node` by the rules, written differently."""
    args = [disguised(random, arg, naming) for arg in node.args]
    if not args:
        result = INPUT_NODES[naming[node.op]]
    elif node.op == "add" and random.random() < 0.5:
        result = apply("add", args[1], args[0])
    elif node.op == "matmul" and random.random() < 0.3:
        result = apply("transpose", apply("matmul", transposed(args[1]), transposed(args[0])))
    elif node.op in ("cosine", "euclidean") and random.random() < 0.3:
        result = apply("transpose", apply(node.op, args[1], args[0]))
    elif node.op in ("multiply",) and random.random() < 0.5:
        result = apply("multiply", args[1], args[0])
    elif len(args) == 1 and PRIMITIVES[node.op].elementwise and random.random() < 0.3:
        result = apply("transpose", apply(node.op, transposed(args[0])))
    else:
        result = apply(node.op, *args)
    if random.random() < 0.15:
        result = apply("neg", apply("neg", result))
    if random.random() < 0.15:
        result = transposed(transposed(result))
    return result


def transposed(node: Node) -> Node:
    return apply("transpose", node)


# Sums of operands that look alike once inputs are anonymous, one within another.
@example(parse_formula("((Q + K) + (K + V)) + ((V + P) + (P + Q))"), Random(1))
@example(parse_formula("(Q + K) + (Q + K) + ((V + Q) + (Q + V))"), Random(2))
@example(parse_formula("softmax((Q + K) @ (V + P).T) @ (scale(P) + scale(Q))"), Random(3))
@settings(max_examples=300)
@given(graphs(), randoms)
def test_disguises_have_the_same_form(graph: Graph, random: Random) -> None:
    for _ in range(5):
        naming = dict(zip(INPUTS, random.sample(INPUTS, len(INPUTS)), strict=True))
        other = Graph(disguised(random, graph.root, naming))
        assert canonical_code(other) == canonical_code(graph), other


def test_every_naming_of_every_small_graph_has_the_same_form() -> None:
    by_names: dict[str, str] = {}
    for graph in all_graphs(3):
        if graph.code in by_names:
            assert canonical_code(graph) == by_names[graph.code]
            continue
        for order in permutations("0123"):
            renamed = graph.code.translate(str.maketrans("0123", "".join(order)))
            by_names.setdefault(renamed, canonical_code(graph))
    assert len(by_names) == 12_648


@pytest.mark.parametrize(
    ("formula", "other"),
    [
        ("V + Q", "Q + K"),
        ("--Q + K", "Q + K"),
        ("Q.T.T + K", "Q + K"),
        ("-(-Q).T.T + K", "Q + K"),
        ("scale(Q.T).T + K", "scale(K) + Q"),
        ("softmax(Q.T).T + K", "Q + softmax(K.T).T"),
        ("V @ (Q.T @ K).T", "V @ (K.T @ Q)"),
        ("V @ (softsign(Q.T) @ -K).T", "Q @ (-(K.T) @ softsign(V))"),
        ("euclidean(Q, K).T @ V", "euclidean(K, Q) @ V"),
        ("softmax((K @ Q.T).T) @ V", "softmax(Q @ K.T) @ V"),
        # Once renamed, the inner sums are to be ordered before the outer one.
        ("V @ (Q.T @ K) @ (Q.T @ ((Q + K) + (K + V)))", "Q @ (K.T @ V) @ (K.T @ ((K + V) + (V + Q)))"),
        ("cosine(Q, K).T @ V", "cosine(Q, K) @ V"),
        ("softmax(scale(P @ V.T)) @ Q", "softmax(scale(Q @ K.T)) @ V"),
    ],
)
def test_equal_by_hand(formula: str, other: str) -> None:
    assert key(formula) == key(other)


@pytest.mark.parametrize(
    ("formula", "other"),
    [
        ("Q @ (K.T @ V) + Q", "Q @ (K.T @ V) + K"),
        ("(softmax(Q @ K.T) @ cosine(V, P)) @ Q", "(cosine(V, P) @ softmax(Q @ K.T)) @ Q"),
        ("Q @ ((Q.T @ Q) @ softmax(K.T @ K))", "Q @ (softmax(K.T @ K) @ (Q.T @ Q))"),
        ("softmax(Q @ K.T) @ K", "softmax(Q @ K.T) @ Q"),
        ("softmax(Q.T).T + K", "softmax(Q) + K"),
        ("softmax(-Q) + K", "-softmax(Q) + K"),
        ("cosine(Q, K) @ K", "cosine(K, Q) @ K"),
        ("Q + K", "Q + (K + V)"),
        ("Q + Q + K", "Q + K"),
    ],
)
def test_different_functions_keep_different_keys(formula: str, other: str) -> None:
    assert key(formula) != key(other)


@given(graphs(), graphs())
def test_addition_has_no_order_matmul_has(graph: Graph, other: Graph) -> None:
    a, b = graph.root, other.root
    assert canonical_code(Graph(apply("add", a, b))) == canonical_code(Graph(apply("add", b, a)))
    # (A @ B.T) @ A against (B @ A.T) @ A: equal only if the two graphs are one function's two names.
    ab, ba = (
        Graph(apply("matmul", apply("matmul", first, transposed(second)), a))
        for first, second in ((a, b), (b, a))
    )
    assert (canonical_code(ab) == canonical_code(ba)) <= (canonical_code(graph) == canonical_code(other))
