"""What a plan contains: no pass over an (n, n) matrix that could be spared, nothing twice."""

import sys
from collections import Counter
from random import Random

import pytest
from nn_samples import PUBLISHED, graph_of

from autobert_zero.compile import algebra, chain
from autobert_zero.compile.algebra import MINUS, ONE, SCALE, Expression, Scalar, as_terms
from autobert_zero.compile.plan import Plan, describe_plan
from autobert_zero.compile.planner import make_plan
from autobert_zero.space import PRIMITIVES, Primitive, parse_formula, types
from autobert_zero.space.graph import INPUT_NODES, Graph, Node

# Formula, and its plan for people.
PLANS = {
    # The published layers: one attention, its scale inside, the sign on an (n, d) operand.
    "softmax(scale(Q @ K.T)) @ V": "v1 (n, d) = sdpa(Q, K, V; scale 1/sqrt(d_h))",
    "softmax(scale(Q @ (-logsigmoid(-K)).T)) @ (Q + K)": """
        v1 (n, d) = K + Q
        v2 (n, d) = softplus(K)
        v3 (n, d) = sdpa(Q, v2, v1; scale 1/sqrt(d_h))""",
    "softmax(scale(Q @ (-logsigmoid(K)).T)) @ Q": """
        v1 (n, d) = logsigmoid(K)
        v2 (n, d) = -1 * v1
        v3 (n, d) = sdpa(Q, v2, Q; scale 1/sqrt(d_h))""",
    "softmax(scale(Q @ (scale(K) + V).T)) @ V": """
        v1 (n, d) = V + 1/sqrt(d_h) * K
        v2 (n, d) = sdpa(Q, v1, V; scale 1/sqrt(d_h))""",
    # Linear attention: the softmax over tokens leaves padding out by itself.
    "Q @ (softmax(K.T) @ V)": """
        v1 (n, d) = softmax(K, down the columns)
        v2 (d, d) = v1.T @ V
        v3 (n, d) = Q @ v2""",
    # Without a softmax the order is free, and scalars go to the smallest value.
    "(Q @ K.T) @ V": """
        v1 (n, d) = V without padding in its rows
        v2 (d, d) = K.T @ v1
        v3 (n, d) = Q @ v2""",
    "-scale(scale(Q @ -K.T)) @ V": """
        v1 (n, d) = V without padding in its rows
        v2 (d, d) = K.T @ v1
        v3 (d, d) = 1/d_h * v2
        v4 (n, d) = Q @ v3""",
    "cosine(Q, K) @ V": """
        v1 (n, d) = unit(Q)
        v2 (n, d) = unit(K)
        v3 (n, d) = V without padding in its rows
        v4 (d, d) = v2.T @ v3
        v5 (n, d) = v1 @ v4""",
    # A product that is added to something else does not have to be an (n, n) either.
    "scale(Q @ K.T + -euclidean(Q, K)) @ V": """
        v1 (n, n) = euclidean(Q, K)
        v2 (n, d) = V without padding in its rows
        v3 (n, d) = v1 @ v2
        v4 (n, d) = -1/sqrt(d_h) * v3
        v5 (d, d) = K.T @ v2
        v6 (d, d) = 1/sqrt(d_h) * v5
        v7 (n, d) = Q @ v6
        v8 (n, d) = v4 + v7""",
    # Additive terms are the attention's bias; the sign of the product is on one operand.
    "softmax(-(Q @ K.T) + euclidean(Q, V)) @ V": """
        v1 (n, d) = -1 * K
        v2 (n, n) = euclidean(Q, V)
        v3 (n, d) = sdpa(Q, v1, V; scale 1; bias v2)""",
    "softmax(scale(Q @ K.T + euclidean(Q, V)).T) @ V": """
        v1 (n, n) = euclidean(Q, V)
        v2 (n, n) = 1/sqrt(d_h) * v1.T
        v3 (n, d) = sdpa(K, Q, V; scale 1/sqrt(d_h); bias v2)""",
    # Query and key share the factors between them so that the fewest products are (n, d).
    "softmax(Q @ K.T @ Q @ K.T @ Q @ K.T) @ V": """
        v1 (n, d) = K without padding in its rows
        v2 (d, d) = Q.T @ v1
        v3 (d, d) = v2 @ v2
        v4 (n, d) = K @ v3
        v5 (n, d) = sdpa(Q, v4, V; scale 1)""",
    # An (n, n) product has low rank where a factor further inside does: it leaves the sum.
    "(softsign(Q @ K.T) @ (Q @ K.T) + softmax(Q @ K.T)) @ V": """
        v1 (n, d) = sdpa(Q, K, V; scale 1)
        v2 (n, n) = K @ Q.T
        v3 (n, n) = softsign(v2)
        v4 (n, d) = V without padding in its rows
        v5 (d, d) = K.T @ v4
        v6 (n, d) = Q @ v5
        v7 (n, d) = v6 without padding in its rows
        v8 (n, d) = v3.T @ v7
        v9 (n, d) = v1 + v8""",
    # The mirror image of an attention is one, too; a softmax down the columns is none.
    "(V.T @ softmax(scale(Q @ K.T)).T).T + K": """
        v1 (n, d) = sdpa(Q, K, V; scale 1/sqrt(d_h))
        v2 (n, d) = K + v1""",
    "softmax(Q @ K.T).T @ V": """
        v1 (n, n) = K @ Q.T
        v2 (n, n) = softmax(v1.T)
        v3 (n, d) = V without padding in its rows
        v4 (n, d) = v2.T @ v3""",
    # A shared softmax is stored once; a shared (n, d) is computed once.
    "softmax(Q @ K.T) @ V + softmax(Q @ K.T) @ P": """
        v1 (n, n) = K @ Q.T
        v2 (n, n) = softmax(v1.T)
        v3 (n, d) = v2 @ P
        v4 (n, d) = v2 @ V
        v5 (n, d) = v3 + v4""",
    "softmax((Q + K) @ (Q + K).T) @ (Q + K)": """
        v1 (n, d) = K + Q
        v2 (n, d) = sdpa(v1, v1, v1; scale 1)""",
    # Where a sign cannot leave, a product inside takes it.
    "euclidean(-logsigmoid(Q @ K.T), Q @ V.T) @ V": """
        v1 (n, d) = -1 * K
        v2 (n, n) = v1 @ Q.T
        v3 (n, n) = softplus(v2)
        v4 (n, n) = v3 without padding in its rows
        v5 (n, d) = V without padding in its rows
        v6 (n, n) = Q @ v5.T
        v7 (n, n) = euclidean(v4.T, v6)
        v8 (n, d) = v7 @ v5""",
    # Elementwise: double scales are one, signs leave odd functions, sums take their operands' scalars.
    "scale(scale(Q)) + K": "v1 (n, d) = K + 1/d_h * Q",
    "-softsign(-Q) + -logsigmoid(-K)": """
        v1 (n, d) = softplus(K)
        v2 (n, d) = softsign(Q)
        v3 (n, d) = v1 + v2""",
    "-(scale(Q) + -K) + P": """
        v1 (n, d) = K + P
        v2 (n, d) = v1 + -1/sqrt(d_h) * Q""",
}


@pytest.mark.parametrize("formula", PLANS)
def test_plans(formula: str) -> None:
    expected = [line.strip() for line in PLANS[formula].strip().splitlines()]
    assert describe_plan(make_plan(parse_formula(formula))).splitlines() == expected


def _large(plan: Plan) -> int:
    """How many (n, n) matrices a plan stores, those inside a cosine aside."""
    aside = ("transpose", "mask", "unit")
    return sum(step.type == "nn" and step.op not in aside for step in plan.steps)


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_published_layer_stores_an_attention_matrix(name: str) -> None:
    assert _large(make_plan(PUBLISHED[name])) == 0


def test_random_graphs_store_fewer_large_matrices_and_never_more() -> None:
    planned, plain = 0, 0
    for seed in range(1000):
        graph = graph_of(seed)
        nodes = sum(node.type == "nn" and node.op != "transpose" for node in graph.nodes)
        here = _large(make_plan(graph))
        planned, plain = planned + here, plain + nodes
        assert here <= nodes, describe_plan(make_plan(graph))
    assert planned < 0.65 * plain


def test_steps_are_distinct_ordered_and_all_needed() -> None:
    for seed in range(500):
        plan = make_plan(graph_of(seed))
        first = len(plan.inputs)
        needed = {plan.output}
        for register, step in reversed(list(enumerate(plan.steps, start=first))):
            assert all(arg < register for arg in step.args)
            assert register in needed, describe_plan(plan)
            needed.update(step.args)
        assert needed >= set(range(first))
        assert len(set(plan.steps)) == len(plan.steps)


def test_masks_are_made_once_for_each_value() -> None:
    plan = make_plan(parse_formula("Q @ (K.T @ V) + P @ (K.T @ Q) + V @ (K.T @ P)"))
    masks = [step for step in plan.steps if step.op == "mask"]
    assert len(masks) == 1  # of K, which all three contract


def test_a_primitive_without_a_rule_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = Primitive("cube", "3", 1, types.keep, "(a, b)", "x^3", elementwise=True)
    monkeypatch.setitem(PRIMITIVES, "cube", cube)
    node = Node("neg", (INPUT_NODES["Q"],), types.ND)
    node.op = "cube"
    plan = make_plan(Graph(Node("add", (node, INPUT_NODES["K"]), types.ND)))
    assert [step.op for step in plan.steps] == ["cube", "add"]


@pytest.mark.parametrize("primitive", PRIMITIVES.values(), ids=list(PRIMITIVES))
def test_every_primitive_has_a_rule(primitive: Primitive) -> None:
    found = next(graph for graph in map(graph_of, range(1000)) if primitive.name in graph.operations)
    assert make_plan(found).steps is not None


def test_scalars_multiply() -> None:
    assert (MINUS * SCALE * SCALE).value(16) == -1 / 16
    assert (MINUS * MINUS) == ONE
    assert [str(Scalar(-1, power)) for power in range(4)] == [
        "-1",
        "-1/sqrt(d_h)",
        "-1/d_h",
        "-d_h^(-3/2)",
    ]


def test_transposing_twice_is_nothing() -> None:
    for seed in range(300):
        graph = graph_of(seed)
        expression = as_terms(graph)[graph.root].expr
        assert algebra.transposed(algebra.transposed(expression)) == expression


def _leaf(name: str, type_: str) -> Expression:
    return Expression(name, f"{name}.T", "euclidean", (), type_)


def _cost(tree: chain.Tree) -> int:
    if isinstance(tree, Expression):
        return 0
    own = chain.entry_count(tree.type) * (chain.SIZES[tree.left.type[1]] + chain._ACCESS_COST)
    return _cost(tree.left) + _cost(tree.right) + own


def _all_trees(factors: list[Expression]) -> list[chain.Tree]:
    if len(factors) == 1:
        return list(factors)
    return [
        chain.Product(left, right, left.type[0] + right.type[1])
        for middle in range(1, len(factors))
        for left in _all_trees(factors[:middle])
        for right in _all_trees(factors[middle:])
    ]


@pytest.mark.parametrize("seed", range(40))
def test_no_order_of_a_chain_is_cheaper(seed: int) -> None:
    random = Random(seed)
    sides = [random.choice("nd") for _ in range(random.randint(3, 7))]
    factors = [_leaf(f"x{i}", "".join(sides[i : i + 2])) for i in range(len(sides) - 1)]
    tree, cost = chain.cheapest(factors, lambda softmax: False)
    assert cost == _cost(tree) == min(map(_cost, _all_trees(factors)))


def test_planning_takes_few_calls_for_the_longest_formulas() -> None:
    """Calls of functions are counted, not seconds: a search over all orders would take many millions."""
    make_plan.cache_clear()
    calls = Counter[str]()
    for text in (
        " @ ".join(["Q", "K.T"] * 31 + ["V"]),
        " + ".join(["Q", "K"] * 90),
        "softsign(" * 150 + "Q + K" + ")" * 150,
        "softmax(Q @ (" * 45 + "K" + ").T) @ V" * 45,
    ):
        graph = parse_formula(text)
        before = sys.getprofile()
        sys.setprofile(lambda frame, event, argument: calls.update((event,)))
        try:
            plan = make_plan(graph)
        finally:
            sys.setprofile(before)
        assert max(Counter(plan.steps).values()) == 1
    assert calls["call"] < 3_000_000
