"""Published and reference backbones."""

import pytest

from autobert_zero import cost
from autobert_zero.space import Attention, Backbone, Convolution
from autobert_zero.zoo import OPPONENTS, autobert_zero_base, bert, convolution, hybrid

STANDARD = "softmax(scale(Q @ K.T)) @ V"
BASE = cost.Sizes(width=768, heads=12, inner=3072, vocab_size=30522, max_positions=512)


@pytest.mark.parametrize("layers", [1, 2, 4, 7, 12])
def test_opponents_have_the_depth_of_the_search(layers: int) -> None:
    for build in OPPONENTS.values():
        assert len(build(layers).layers) == layers
    assert bert(layers).to_list() == [STANDARD] * layers
    assert all(isinstance(layer, Convolution) for layer in convolution(layers).layers)


def test_the_hybrid_alternates() -> None:
    assert hybrid(5).to_list() == ["conv 9", STANDARD, "conv 7", STANDARD, "conv 3"]
    assert convolution(4).to_list() == ["conv 9", "conv 7", "conv 3", "conv 9"]


def test_the_published_backbone() -> None:
    published = autobert_zero_base()
    assert len(published.layers) == 12
    kernels = [layer.kernel for layer in published.layers[::2] if isinstance(layer, Convolution)]
    assert kernels == [65, 9, 3, 7, 7, 3]
    assert all(isinstance(layer, Attention) for layer in published.layers[1::2])
    assert published.layers[5] == published.layers[7]
    # Shallow attentions share V with Q or K, the last two do not (paper, "Analysis").
    inputs = [layer.graph.inputs for layer in published.layers if isinstance(layer, Attention)]
    assert inputs == [("Q", "K")] * 4 + [("Q", "K", "V")] * 2
    assert Backbone.parse(str(published)) == published


def test_sizes_are_those_of_the_paper() -> None:
    """About 104M parameters, against 110M of BERT-base."""
    assert cost.parameters(autobert_zero_base(), BASE) == pytest.approx(104e6, rel=0.005)
    assert cost.parameters(bert(12), BASE) == pytest.approx(110e6, rel=0.005)
