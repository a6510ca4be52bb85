"""Sizes of an encoder, and its trunk: everything around the token-mixing layers. Pure Python, no torch."""

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

Norm = Literal["post", "pre"]
FeedForwardKind = Literal["gelu", "geglu"]
Positions = Literal["learned", "none"]

ROTARY_BASE = 10_000.0
"""Base of rotary angles (Su et al. 2021)."""

TRUNK = ("norm", "feed_forward_kind", "positions", "biases", "rotary_base")
"""The settings of `EncoderConfig` that make the trunk, apart from its sizes."""

_INNER_MULTIPLE = 8
"""Matrix units are fastest with sizes that are multiples of 8."""


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes and trunk, which all layers share.

    The defaults of the trunk are BERT's. `norm="pre"`, `feed_forward_kind="geglu"`, `positions="none"` and
    `biases=False` with rotary attention are ModernBERT's (Warner et al. 2024).

    Attributes:
        vocab_size: Number of tokens in the vocabulary.
        width: d, the hidden size.
        heads: H, of attentions and convolutions.
        feed_forward: Inner width of the feed-forward block; 0 means 4 d, or with `geglu`, which has three
            matrices instead of two, two thirds of it: the same number of weights.
        max_positions: Number of learned positions, the longest sequence; unused with `positions="none"`.
        token_types: Number of segments.
        dropout: Dropout after the embeddings and after every sub-block.
        norm_epsilon: Epsilon of the layer norms.
        norm: Layer norms after each residual sum (`post`), or before each sub-block with one more after the
            last layer (`pre`).
        feed_forward_kind: `gelu`, or `geglu`, which gates GELU with a third projection (Shazeer 2020).
        positions: A table of learned positions in the embeddings, or `none`: then only the mixing layers
            know the order of tokens, and no length is too long.
        biases: Whether linear layers and layer norms have biases; the language-model head's decoder always
            has one.
        rotary_base: Base of the angles of the primitive `rotary`; larger ones suit longer texts.

    Raises:
        ValueError: d is not divisible by H, or a value is out of range.
    """

    vocab_size: int
    width: int = 128
    heads: int = 4
    feed_forward: int = 0
    max_positions: int = 512
    token_types: int = 2
    dropout: float = 0.0
    norm_epsilon: float = 1e-12
    norm: Norm = "post"
    feed_forward_kind: FeedForwardKind = "gelu"
    positions: Positions = "learned"
    biases: bool = True
    rotary_base: float = ROTARY_BASE

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "heads", "max_positions", "token_types"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} is not divisible by {self.heads} heads; choose a multiple of the heads"
            )
        if self.feed_forward < 0:
            raise ValueError(f"feed_forward must be at least 0, not {self.feed_forward}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")
        if not self.norm_epsilon > 0:
            raise ValueError(f"norm_epsilon must be above 0, not {self.norm_epsilon}")
        for name, choices in (
            ("norm", get_args(Norm)),
            ("feed_forward_kind", get_args(FeedForwardKind)),
            ("positions", get_args(Positions)),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {' or '.join(choices)}, not {getattr(self, name)!r}")
        if not isinstance(self.biases, bool):
            raise ValueError(f"biases must be true or false, not {self.biases!r}")
        if not 1 < self.rotary_base < inf:
            raise ValueError(f"rotary_base must be a finite number above 1, not {self.rotary_base}")

    @property
    def inner(self) -> int:
        """Inner width of the feed-forward block."""
        if self.feed_forward:
            return self.feed_forward
        if self.feed_forward_kind == "gelu":
            return 4 * self.width
        return max(round(8 * self.width / 3 / _INNER_MULTIPLE), 1) * _INNER_MULTIPLE

    @property
    def length_limit(self) -> int | None:
        """Tokens in the longest sequence; None where there is no limit."""
        return self.max_positions if self.positions == "learned" else None
