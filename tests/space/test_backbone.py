"""Backbones: text and JSON read back exactly; keys are the same in every process."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from strategies import backbones

from autobert_zero.space import KERNEL_SIZES, Attention, Backbone, Convolution, FormulaError, SpaceError

STANDARD = "softmax(scale(Q @ K.T)) @ V"


@given(backbones())
def test_round_trips(backbone: Backbone) -> None:
    assert Backbone.parse(str(backbone)) == backbone
    assert Backbone.from_json(backbone.to_json()) == backbone
    assert Backbone.from_list(backbone.to_list()) == backbone
    assert json.loads(backbone.to_json()) == backbone.to_list()
    assert str(Backbone.parse(str(backbone))) == str(backbone)
    assert hash(Backbone.parse(str(backbone))) == hash(backbone)


@given(backbones())
def test_key_is_that_of_the_canonical_form(backbone: Backbone) -> None:
    form = backbone.canonical()
    assert form.canonical() == form
    assert form.key() == backbone.key()
    assert len(backbone.key()) == 16
    assert [layer.code for layer in form.layers] == [layer.canonical_code for layer in backbone.layers]


@given(backbones(), backbones())
def test_keys_differ_where_forms_do(one: Backbone, other: Backbone) -> None:
    assert (one.key() == other.key()) == (one.canonical() == other.canonical())


def test_order_of_layers_counts() -> None:
    assert Backbone.parse(f"conv 3\n{STANDARD}").key() != Backbone.parse(f"{STANDARD}\nconv 3").key()


def test_text_may_have_comments_and_empty_lines() -> None:
    backbone = Backbone.parse(f"# two layers\r\n\n  conv  65   # wide\n\t{STANDARD}\n\n")
    assert backbone.to_list() == ["conv 65", STANDARD]
    assert isinstance(backbone.layers[0], Convolution)
    assert isinstance(backbone.layers[1], Attention)
    assert [sorted(layer.operations) for layer in backbone.layers] == [
        ["conv 65"],
        ["matmul", "scale", "softmax", "transpose"],
    ]


@pytest.mark.parametrize("kernel", KERNEL_SIZES)
def test_every_kernel_parses(kernel: int) -> None:
    assert Backbone.parse(f"conv {kernel}").layers == (Convolution(kernel),)


KERNEL = "a convolution has a kernel of one of 3, 5, 7, 9, 15, 31, 65, not"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least one layer"),
        ("\n# nothing\n", "at least one layer"),
        ("conv 3\nconv 4", f"line 2: {KERNEL} 4"),
        ("conv -3", f"line 1: {KERNEL} -3"),
        ("\nconv", "line 2: write a convolution as `conv 9`, not 'conv'"),
        ("conv 3 5", "line 1: write a convolution as `conv 9`, not 'conv 3 5'"),
        ("conv 1_5", "line 1: write a convolution as `conv 9`, not 'conv 1_5'"),
        ("conv \uff19", "line 1: write a convolution as `conv 9`"),
        ("conv x", "line 1: write a convolution as `conv 9`, not 'conv x'"),
        ("conv " + "9" * 5000, "line 1: write a convolution as `conv 9`"),
        ("conv9", "line 1: unknown name 'conv9'"),
        ("conv 3\nconv 3 | conv 9", "line 2: write one layer per line, without `|`"),
        (f"{STANDARD}\n\nQ @ K", r"line 3: matmul expects"),
    ],
)
def test_parse_names_the_line(text: str, says: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Backbone.parse(text)
    assert says in str(caught.value)


def test_parse_points_at_the_column_of_the_line() -> None:
    with pytest.raises(FormulaError) as caught:
        Backbone.parse("conv 3\n  Q + W  # what?")
    assert (caught.value.text, caught.value.column) == ("Q + W", 4)
    assert str(caught.value).startswith("line 2: unknown name 'W'; inputs are Q, K, V, P (column 5)")


@pytest.mark.parametrize("kernel", [4, 0, -3, 1, 67])
def test_other_kernels_are_refused(kernel: int) -> None:
    with pytest.raises(SpaceError, match=f"{KERNEL} {kernel}"):
        Convolution(kernel)


def test_empty_backbone_is_refused() -> None:
    with pytest.raises(SpaceError, match="at least one layer"):
        Backbone(())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "a list with one string per layer"),
        ('"conv 3"', "a list with one string per layer"),
        ("[3]", "a list with one string per layer"),
        ("[]", "at least one layer"),
        (r'["conv 3\nconv 5"]', "a list with one string per layer"),
        ('["conv 3", ""]', "a list with one string per layer"),
        ('["conv 3", "conv 4"]', "line 2"),
    ],
)
def test_bad_json(text: str, says: str) -> None:
    with pytest.raises(SpaceError, match=says):
        Backbone.from_json(text)


KEYS_OF_A_WALK = """
from random import Random
from autobert_zero.space import Space, sample_backbone
from autobert_zero.space.mutate import draw_uniformly, mutate_attention, mutate_layer_type

random, space = Random(7), Space(layers=4)
backbone = sample_backbone(random, space)
for _ in range(200):
    backbone, _ = mutate_layer_type(random, backbone, space)
    backbone, _ = mutate_attention(random, backbone, space, lambda index: draw_uniformly)
    print(backbone.canonical(), backbone.key())
"""


def test_walks_and_keys_do_not_depend_on_the_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", KEYS_OF_A_WALK],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
    assert len(set(outputs.pop().splitlines())) > 200


def test_keys_are_the_same_for_ever() -> None:
    """Recorded runs are resumed by key: a change here must be meant."""
    assert Backbone.parse(f"{STANDARD}\nconv 3").key() == "9126ae046903dca3"


@pytest.mark.parametrize(
    ("formula", "sees_all"),
    [
        (STANDARD, True),
        ("softmax(Q) @ (softmax(K.T) @ V)", True),  # linear attention
        ("cosine(Q, K) @ V", True),
        ("softmax(Q.T).T + K", True),  # normalised over the tokens
        ("Q @ cosine(K.T, V.T)", True),  # (d, d), summed over the tokens
        ("P * (previous(Q) + K + next(V))", False),
        ("softmax(Q) + softsign(K)", False),  # normalised over the channels
        ("rotary(Q) * sigmoid(K)", False),
    ],
)
def test_attentions_that_see_all_tokens(formula: str, sees_all: bool) -> None:
    attention = Backbone.parse(formula).layers[0]
    assert isinstance(attention, Attention)
    assert attention.is_global is sees_all
    assert Backbone.parse(f"conv 65\n{formula}\n{STANDARD}").global_attentions == 1 + sees_all
