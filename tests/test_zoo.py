"""Published and reference backbones."""

import pytest
from typer.testing import CliRunner

from autobert_zero import cost
from autobert_zero.cli import app
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.space import Attention, Backbone, Convolution
from autobert_zero.zoo import (
    STACKS,
    ZOO,
    attention_only,
    autobert_zero_base,
    bert,
    convolution,
    convolution_only,
    efficient_attention,
    find,
    hybrid,
    list_zoo,
    lite_transformer,
)

STANDARD = "softmax(scale(Q @ K.T)) @ V"
# Of the masked language model: BERT's as in `transformers`, which tests/hf/test_from_bert.py counts.
PARAMETERS = {
    "bert-tiny": 4_416_698,
    "bert-mini": 11_201_594,
    "bert-small": 28_795_194,
    "bert-medium": 41_404_730,
    "bert-base": 109_514_298,
    "bert-large": 335_174_458,
    "autobert-zero-small": 16_862_130,
    "autobert-zero-base": 103_609_506,
    "autobert-zero-large": 314_185_466,
    "autobert-zero-attention": 104_789_562,
    "autobert-zero-convolution": 102_429_450,
    "lite-transformer": 105_972_162,
    "linear-attention": 109_514_298,
}
BASE = EncoderConfig(vocab_size=30522, width=768, heads=12)


@pytest.mark.parametrize("layers", [1, 2, 4, 7, 12])
def test_opponents_have_the_depth_of_the_search(layers: int) -> None:
    for build in STACKS.values():
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


def test_parameters_of_the_zoo() -> None:
    assert {name: cost.parameters(entry.backbone, entry.sizes) for name, entry in ZOO.items()} == PARAMETERS


def test_sizes_of_the_zoo() -> None:
    for entry in ZOO.values():
        assert entry.sizes.width == 64 * entry.sizes.heads
        assert entry.source
        assert Backbone.parse(str(entry.backbone)) == entry.backbone
    small, base, large = (find(f"autobert-zero-{size}").backbone for size in ("small", "base", "large"))
    assert small == base == autobert_zero_base()
    assert large.layers == base.layers + base.layers


def test_variants_have_one_kind_of_layer_each_twice() -> None:
    published = autobert_zero_base().layers
    assert attention_only().layers[::2] == attention_only().layers[1::2] == published[1::2]
    assert convolution_only().layers[::2] == convolution_only().layers[1::2] == published[::2]


def test_lite_transformer_takes_turns_and_its_kernels_grow() -> None:
    assert lite_transformer(9).to_list()[1::2] == [STANDARD] * 4
    assert lite_transformer(9).to_list()[::2] == ["conv 3", "conv 7", "conv 15", "conv 31", "conv 31"]


def test_linear_attention_costs_twice_for_twice_the_length() -> None:
    assert cost.flops(efficient_attention(2), BASE, 1024) == 2 * cost.flops(efficient_attention(2), BASE, 512)


def test_the_command_lists_and_writes() -> None:
    listed = CliRunner().invoke(app, ["zoo"])
    assert listed.exit_code == 0
    assert listed.output == list_zoo() + "\n"
    rows = [line.split() for line in list_zoo().splitlines()]
    assert [row[0] for row in rows] == ["name", *ZOO]
    assert rows[5][:5] == ["bert-base", "12", "768", "12", "109.5M"]
    written = CliRunner().invoke(app, ["zoo", "autobert-zero-base"])
    assert Backbone.parse(written.output) == autobert_zero_base()


def test_an_unknown_name() -> None:
    with pytest.raises(
        UserError, match=r"unknown backbone 'bert-huge'; there are bert-tiny, .*, linear-attention"
    ):
        find("bert-huge")
    result = CliRunner().invoke(app, ["zoo", "bert-huge"])
    assert isinstance(result.exception, UserError)
