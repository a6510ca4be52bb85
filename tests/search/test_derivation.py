"""Derivations: every backbone is a sequence of choices, every legal sequence a backbone."""

from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.search.strategies.derivation import SYMBOLS, ChoicePoint, derive, symbols
from autobert_zero.space import LAYER_KINDS, Attention, Backbone, Space, sample_backbone

SPACES = st.builds(Space, st.integers(1, 3), st.integers(1, 9), st.sampled_from([0.0, 0.3, 1.0]))


@given(SPACES, st.integers())
def test_a_backbone_is_derived_from_its_symbols(space: Space, seed: int) -> None:
    backbone = sample_backbone(Random(seed), space)
    chosen = [symbols(layer) for layer in backbone.layers]
    places: list[ChoicePoint] = []

    def choose(place: ChoicePoint, legal: Sequence[str]) -> str:
        places.append(place)
        assert chosen[place.layer][place.step] in legal
        return chosen[place.layer][place.step]

    assert derive(space, choose) == backbone
    assert len(places) == sum(map(len, chosen))


@given(SPACES, st.integers())
def test_legal_choices_make_a_backbone_of_the_space(space: Space, seed: int) -> None:
    random = Random(seed)
    backbone = derive(space, lambda place, legal: random.choice(legal))
    assert Backbone.parse(str(backbone)) == backbone
    assert len(backbone.layers) == space.layers
    for layer in backbone.layers:
        assert space.attention_share < 1 or isinstance(layer, Attention)
        assert space.attention_share > 0 or not isinstance(layer, Attention)
        if isinstance(layer, Attention):
            assert layer.graph.root.size <= space.max_ops
            assert len(layer.graph.inputs) >= 2
            assert len(symbols(layer)) <= 2 * space.max_ops + 2


def test_symbols_of_a_layer() -> None:
    layer = Backbone.parse("softmax(scale(Q @ K.T)) @ V").layers[0]
    assert symbols(layer) == [
        *("attention", "matmul over n", "softmax", "scale", "matmul over d", "Q", "transpose", "K", "V")
    ]
    assert {"attention", "conv 3"} <= set(LAYER_KINDS)
    assert len(set(SYMBOLS)) == len(SYMBOLS)


def test_the_least_room_still_makes_two_inputs() -> None:
    """With one operation the only graphs are additions of two different inputs."""
    space = Space(layers=1, max_ops=1, attention_share=1)
    random = Random(0)
    for _ in range(50):
        (layer,) = derive(space, lambda place, legal: random.choice(legal)).layers
        assert symbols(layer)[1] == "add"
        assert symbols(layer)[2] != symbols(layer)[3]
