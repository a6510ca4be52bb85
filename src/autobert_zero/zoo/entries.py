"""The table of known models: a new one is one entry here."""

from dataclasses import dataclass
from typing import Any

from autobert_zero import cost
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError, unknown_name
from autobert_zero.space import Backbone
from autobert_zero.zoo import backbones, stacks


@dataclass(frozen=True)
class Entry:
    """A backbone at one size.

    Attributes:
        backbone: The layers.
        sizes: Sizes of the published model.
        source: The publication.
    """

    backbone: Backbone
    sizes: EncoderConfig
    source: str

    def to_dict(self) -> dict[str, Any]:
        """The entry as plain data."""
        return {
            "backbone": self.backbone.to_list(),
            "width": self.sizes.width,
            "heads": self.sizes.heads,
            "parameters": cost.parameters(self.backbone, self.sizes),
            "source": self.source,
        }


def _bert_sizes(width: int) -> EncoderConfig:
    """Sizes as Google's BERTs have them: heads of 64, four times the width inside, their vocabulary."""
    return EncoderConfig(vocab_size=30522, width=width, heads=width // 64)


_DEVLIN = "Devlin et al. 2019, BERT"
_TURC = "Turc et al. 2019, Well-Read Students Learn Better"
_GAO = "Gao et al. 2022, AutoBERT-Zero"
_BASE = backbones.autobert_zero_base()

ZOO: dict[str, Entry] = {
    "bert-tiny": Entry(stacks.bert(2), _bert_sizes(128), _TURC),
    "bert-mini": Entry(stacks.bert(4), _bert_sizes(256), _TURC),
    "bert-small": Entry(stacks.bert(4), _bert_sizes(512), _TURC),
    "bert-medium": Entry(stacks.bert(8), _bert_sizes(512), _TURC),
    "bert-base": Entry(stacks.bert(12), _bert_sizes(768), _DEVLIN),
    "bert-large": Entry(stacks.bert(24), _bert_sizes(1024), _DEVLIN),
    "autobert-zero-small": Entry(_BASE, _bert_sizes(256), f"{_GAO}; the layers of base, narrower"),
    "autobert-zero-base": Entry(_BASE, _bert_sizes(768), _GAO),
    "autobert-zero-large": Entry(
        Backbone(_BASE.layers * 2), _bert_sizes(1024), f"{_GAO}; the layers of base twice, wider"
    ),
    "autobert-zero-attention": Entry(
        backbones.attention_only(), _bert_sizes(768), f"ours: the attentions of {_GAO}, without convolutions"
    ),
    "autobert-zero-convolution": Entry(
        backbones.convolution_only(),
        _bert_sizes(768),
        f"ours: the convolutions of {_GAO}, without attentions",
    ),
    "lite-transformer": Entry(
        backbones.lite_transformer(12), _bert_sizes(768), "after Wu et al. 2020, Lite Transformer"
    ),
    "linear-attention": Entry(
        backbones.efficient_attention(12), _bert_sizes(768), "Shen et al. 2021, Efficient Attention"
    ),
}
"""Known models by name.

The paper evaluates the one backbone that it found at several capacities, small, base and large, and so do
we: small is base at the width of 256 that small BERTs of its time have, large is the 12 layers of base
stacked twice, at the width and depth of BERT-large. The paper gives no list of layers for large; this
stacking is our reading.
"""


def find(name: str) -> Entry:
    """Looks an entry up.

    Raises:
        UserError: There is none of this name.
    """
    if name not in ZOO:
        raise UserError(unknown_name("backbone", name, ZOO))
    return ZOO[name]
