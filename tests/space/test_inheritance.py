"""What a layer inherits of another: a table by hand, and properties over random backbones."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.errors import UserError
from autobert_zero.space import SETS, Attention, Backbone, Space, parse_formula, sample_backbone
from autobert_zero.space.inheritance import describe_inheritance, plan_inheritance, roles

BERT = "softmax(scale(Q @ K.T)) @ V"


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (BERT, {"Q": "query", "K": "key", "V": "value"}),
        ("softmax(scale(K @ Q.T)) @ V", {"K": "query", "Q": "key", "V": "value"}),
        (
            "softmax(scale(rotary(Q) @ rotary(K).T)) @ V * sigmoid(P)",
            {"Q": "query", "K": "key", "V": "value", "P": "gate"},
        ),
        ("softmax(cosine(Q, K)) @ (V + P)", {"Q": "query", "K": "key", "V": "value", "P": "value"}),
        ("(Q @ K.T) @ V", {"Q": "query", "K": "key", "V": "value"}),
        ("(V.T @ softmax(Q @ K.T)).T", {"V": "value", "Q": "query", "K": "key"}),
        ("softmax(Q @ Q.T) @ (Q + K)", {"Q": "query", "K": "value"}),
        ("(Q + previous(K) + next(V)) * P", dict.fromkeys("QKVP", "gate")),
    ],
)
def test_roles(formula: str, expected: dict[str, str]) -> None:
    assert roles(parse_formula(formula)) == expected


@pytest.mark.parametrize(
    ("layer", "source", "inputs", "new"),
    [
        ("softmax(scale(rotary(Q) @ rotary(K).T)) @ V", BERT, {"Q": "Q", "K": "K", "V": "V"}, ()),
        ("softmax(K @ Q.T) @ V", BERT, {"K": "Q", "Q": "K", "V": "V"}, ()),
        (f"{BERT} * P", BERT, {"Q": "Q", "K": "K", "V": "V"}, ("projections of P",)),
        ("(Q + previous(K) + next(V)) * P", BERT, {}, ("projections of Q, K, V, P",)),
        (BERT, "conv 9", {}, ("projections of Q, K, V",)),
        ("Q + softsign(K)", f"{BERT} * P", {"Q": "P"}, ("projections of K",)),
        # Equal by algebra: nothing is new, whatever the letters are.
        (
            "(Q + previous(K) + next(V)) * P",
            "P * (previous(Q) + K + next(V))",
            {"Q": "K", "K": "Q", "V": "V", "P": "P"},
            (),
        ),
        ("Q + K * V", "V + Q * K", {"Q": "V", "K": "Q", "V": "K"}, ()),
        ("conv 9", BERT, {}, ("input projection", "kernel")),
        ("conv 9", "conv 3", {}, ("input projection", "kernel")),
        ("conv 3", "conv 9", {}, ()),
    ],
)
def test_what_fits(layer: str, source: str, inputs: dict[str, str], new: tuple[str, ...]) -> None:
    (plan,) = plan_inheritance(Backbone.from_list([layer]), Backbone.from_list([source]))
    assert (plan.whole, dict(plan.inputs), plan.new) == (False, inputs, new)


@pytest.mark.parametrize(
    ("depth", "limit", "places"),
    [(6, 6, [0, 1, 2, 3, 4, 5]), (3, 6, [1, 3, 5]), (4, 6, [0, 2, 3, 5]), (1, 5, [4])],
)
def test_layers_are_taken_evenly(depth: int, limit: int, places: list[int]) -> None:
    plan = plan_inheritance(Backbone.from_list([BERT] * depth), Backbone.from_list([BERT] * limit))
    assert [each.source for each in plan] == places
    assert all(each.whole for each in plan)


def test_a_deeper_backbone_is_refused() -> None:
    with pytest.raises(UserError, match="the backbone has 3 layers, the model that it starts from 2"):
        plan_inheritance(Backbone.from_list([BERT] * 3), Backbone.from_list([BERT] * 2))


def test_in_words() -> None:
    backbone = Backbone.from_list(["conv 9", f"{BERT} * P", BERT])
    lines = describe_inheritance(plan_inheritance(backbone, Backbone.from_list([BERT] * 3)), backbone)
    always = "output projection, norms, feed-forward"
    assert lines == [
        f"layer 1, conv 9: from layer 1: {always}; new: input projection, kernel",
        f"layer 2, {BERT} * P: from layer 2: projections of Q, K, V, {always}; new: projections of P",
        f"layer 3, {BERT}: from layer 3: all weights",
    ]


@given(st.integers(0, 10**6))
def test_every_input_inherits_once_or_is_new(seed: int) -> None:
    space = Space(layers=3, primitives=SETS["modern"])
    own, other = (sample_backbone(random.Random(seed + offset), space) for offset in (0, 1))
    for layer, plan, source in zip(own.layers, plan_inheritance(own, other), other.layers, strict=True):
        if not isinstance(layer, Attention) or plan.whole:
            continue
        taken = list(plan.inputs.values())
        assert len(set(taken)) == len(taken)
        assert set(taken) <= set(source.graph.inputs if isinstance(source, Attention) else ())
        named = "".join(plan.new).removeprefix("projections of ").split(", ") if plan.new else []
        assert sorted([*plan.inputs, *named]) == sorted(layer.graph.inputs)
