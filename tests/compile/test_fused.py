"""Which nodes of a graph run inside a fused attention."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.compile import fused_nodes, make_plan
from autobert_zero.compile.algebra import as_terms
from autobert_zero.space import format_node, parse_formula, sample_graph


def groups(formula: str) -> list[set[str]]:
    return [{format_node(node) for node in group} for group in fused_nodes(parse_formula(formula))]


STANDARD = ["K.T", "Q @ K.T", "scale(Q @ K.T)", "softmax(scale(Q @ K.T))", "softmax(scale(Q @ K.T)) @ V"]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("softmax(scale(Q @ K.T)) @ V", [STANDARD]),
        # What is computed before and after stays outside; so does a key that is transposed for others too.
        ("softsign(softmax(scale(Q @ K.T)) @ V) + logsigmoid(K.T).T", [STANDARD[1:]]),
        # The scale of the query is the step's own, that of the values is not.
        (
            "softmax(scale(Q) @ K.T) @ scale(V)",
            [
                [
                    *("scale(Q)", "K.T", "scale(Q) @ K.T", "softmax(scale(Q) @ K.T)"),
                    "softmax(scale(Q) @ K.T) @ scale(V)",
                ]
            ],
        ),
        # A bias is added inside, and computed outside.
        (
            "softmax(euclidean(Q, K) + -(Q @ V.T)) @ V",
            [
                [
                    *("V.T", "Q @ V.T", "-(Q @ V.T)", "euclidean(Q, K) + -(Q @ V.T)"),
                    "softmax(euclidean(Q, K) + -(Q @ V.T))",
                    "softmax(euclidean(Q, K) + -(Q @ V.T)) @ V",
                ]
            ],
        ),
        # A comparison by cosines is a product of what has length 1.
        (
            "softmax(cosine(Q, K)) @ V",
            [["cosine(Q, K)", "softmax(cosine(Q, K))", "softmax(cosine(Q, K)) @ V"]],
        ),
        # The key is K.T times an (n, n), which is computed outside.
        (
            "softmax(Q @ (K.T @ euclidean(V, V))) @ V",
            [
                [
                    "Q @ (K.T @ euclidean(V, V))",
                    "softmax(Q @ (K.T @ euclidean(V, V)))",
                    "softmax(Q @ (K.T @ euclidean(V, V))) @ V",
                ]
            ],
        ),
        # The mirror image.
        (
            "(V.T @ softmax(Q @ K.T).T).T",
            [
                [
                    *("V.T", "K.T", "Q @ K.T", "softmax(Q @ K.T)", "softmax(Q @ K.T).T"),
                    "V.T @ softmax(Q @ K.T).T",
                ]
            ],
        ),
        # A softmax over no product, one that is needed as a matrix, and no softmax.
        ("softmax(euclidean(Q, K)) @ V", []),
        ("softsign(softmax(Q @ K.T)) @ V", []),
        ("Q @ K.T @ V", []),
    ],
)
def test_table(formula: str, expected: list[list[str]]) -> None:
    assert groups(formula) == [set(group) for group in expected]


def test_two_attentions_are_two_groups() -> None:
    first, second = sorted(
        groups("softmax(Q @ K.T) @ V + softmax(K @ V.T) @ Q"), key=lambda group: "V.T" in group
    )
    assert "softmax(Q @ K.T)" in first
    assert "softmax(K @ V.T)" in second
    assert not first & second


@given(st.integers(min_value=0))
def test_every_softmax_is_in_a_group_or_a_step(seed: int) -> None:
    graph = sample_graph(Random(seed), 12)
    steps = [step.op for step in make_plan(graph).steps]
    found = fused_nodes(graph)
    assert len(found) == steps.count("attention")
    texts = {node: term.expr.text for node, term in as_terms(graph).items() if node.op == "softmax"}
    fused = {texts[node] for group in found for node in group if node.op == "softmax"}
    outside = {text for node, text in texts.items() if not any(node in group for group in found)}
    assert len(fused) == steps.count("attention")
    assert len(outside) == steps.count("softmax")
    for group in found:
        # The (n, n) values of a group lead nowhere else but through it: none of them need exist.
        leaving = [node for node in group if node.type == "nn" and node.op == "softmax"]
        assert all(user in group for node in leaving for user in graph.nodes if node in user.args)
