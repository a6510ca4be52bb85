"""What people build by hand, and which of it a space can express."""

import pytest

from autobert_zero.space import SETS, Attention, Backbone, Convolution, Space
from autobert_zero.zoo import STACKS, known_backbones, known_layers, opponents
from autobert_zero.zoo.layers import GATED_CONVOLUTION, ROTARY
from autobert_zero.zoo.trunks import BERT_TRUNK

PAPER, MODERN = (Space(4, primitives=SETS[name]) for name in ("paper", "modern"))


def test_opponents_of_the_papers_space_are_those_of_before() -> None:
    found = opponents(PAPER)
    assert {name: str(each.build(2)) for name, each in found.items()} == {
        "bert": "softmax(scale(Q @ K.T)) @ V\nsoftmax(scale(Q @ K.T)) @ V",
        "hybrid": "conv 9\nsoftmax(scale(Q @ K.T)) @ V",
        "convolution": "conv 9\nconv 7",
    }
    assert {name for name, each in found.items() if each.trunk} == {"bert"}


def test_opponents_of_the_modern_space() -> None:
    found = opponents(MODERN)
    assert list(found) == ["bert", "rotary", "hybrid", "wide-hybrid", "gated-convolution", "convolution"]
    assert found["bert"].trunk == BERT_TRUNK
    assert found["wide-hybrid"].build(4).to_list() == ["conv 15", ROTARY, "conv 31", ROTARY]
    assert found["gated-convolution"].build(4).to_list() == [
        *(GATED_CONVOLUTION, GATED_CONVOLUTION, ROTARY, GATED_CONVOLUTION),
    ]


ATTENTION = Space(4, primitives=("rotary", "matmul", "transpose", "softmax", "scale"))
SHIFTS = Space(4, primitives=("add", "multiply", "previous", "next"))


@pytest.mark.parametrize("space", [PAPER, MODERN, ATTENTION, SHIFTS])
def test_what_is_known_is_in_the_space_and_different(space: Space) -> None:
    layers = known_layers(space.primitives)
    assert all(layer.operations <= set(space.primitives) for layer in layers.values())
    backbones = known_backbones(space)
    assert len({backbone.key() for backbone in backbones.values()}) == len(backbones)
    used = {layer for backbone in backbones.values() for layer in backbone.canonical().layers}
    assert {Backbone((layer,)).canonical().layers[0] for layer in layers.values()} <= used
    assert any(isinstance(layer, Convolution) for layer in used)
    attentions = [layer for layer in used if isinstance(layer, Attention)]
    assert all(layer.operations <= set(space.primitives) for layer in attentions)


def test_known_layers_of_a_space_of_chosen_primitives() -> None:
    assert set(known_layers(ATTENTION.primitives)) == {"rotary attention"}
    assert set(known_layers(SHIFTS.primitives)) == {"gated convolution"}
    assert set(known_backbones(ATTENTION)) == {"rotary", "hybrid", "wide-hybrid", "convolution"}
    assert set(known_backbones(SHIFTS)) == {"convolution", "gated convolution only"}


@pytest.mark.parametrize("space", [PAPER, MODERN, SHIFTS])
def test_bert_is_as_published_in_every_space(space: Space) -> None:
    """Without its positions, its attention could not know the order of tokens in another trunk."""
    assert opponents(space)["bert"].trunk == BERT_TRUNK


def test_known_layers_of_the_paper_have_no_new_primitive() -> None:
    assert set(known_layers(PAPER.primitives)) == {"standard attention", "linear attention"}
    assert "gated rotary attention" in known_layers(MODERN.primitives)


def test_stacks_are_named_and_of_any_depth() -> None:
    for build in STACKS.values():
        assert [len(build(layers).layers) for layers in (1, 2, 7)] == [1, 2, 7]
