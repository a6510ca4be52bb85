"""A BERT-style encoder whose token-mixing layers are a backbone."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from autobert_zero.nn.attention import GraphAttention
from autobert_zero.nn.convolution import LightConvolution
from autobert_zero.nn.documents import Documents
from autobert_zero.nn.rows import select_rows
from autobert_zero.space import Attention, Backbone, Layer


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes shared by all layers.

    Attributes:
        vocab_size: Number of tokens in the vocabulary.
        width: d, the hidden size.
        heads: H, of attentions and convolutions.
        feed_forward: Inner width of the feed-forward block; 0 means 4 d.
        max_positions: Longest sequence.
        token_types: Number of segments.
        dropout: After the embeddings and after every sub-block.
        norm_epsilon: Of the layer norms.

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

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "heads", "max_positions", "token_types"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, not {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} is not divisible by {self.heads} heads; choose a multiple of the heads"
            )
        if self.feed_forward < 0:
            raise ValueError(f"feed_forward is at least 0, not {self.feed_forward}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is in [0, 1), not {self.dropout}")
        if not self.norm_epsilon > 0:
            raise ValueError(f"norm_epsilon is above 0, not {self.norm_epsilon}")

    @property
    def inner(self) -> int:
        """Inner width of the feed-forward block."""
        return self.feed_forward or 4 * self.width


class Embeddings(nn.Module):
    """Token, position and segment embeddings, normalised, as in BERT."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.width)
        self.position = nn.Embedding(config.max_positions, config.width)
        self.segment = nn.Embedding(config.token_types, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        ids: Tensor | None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        embedded: Tensor | None = None,
    ) -> Tensor:
        """Embeds a batch.

        Args:
            ids: (B, n) token ids; None where `embedded` is given.
            segments: (B, n) segment ids; None means all 0.
            positions: (B, n) or (1, n) positions; None means 0, 1, 2, ...
            embedded: (B, n, d) in place of the token embeddings.

        Returns:
            (B, n, d).

        Raises:
            ValueError: n is larger than `max_positions`.
        """
        x = self.token(ids) if embedded is None else embedded
        if positions is None:
            tokens, limit = x.shape[1], self.position.num_embeddings
            if tokens > limit:
                raise ValueError(f"{tokens} tokens are more than the {limit} positions; truncate the text")
            positions = torch.arange(tokens, device=x.device)[None]  # (1, n)
        if segments is None:
            segments = torch.zeros(1, 1, dtype=torch.long, device=x.device)  # one for all tokens
        # Modules are called, never read: hooks, adapters and offloaded weights act on calls only.
        return self.dropout(self.norm(x + self.position(positions) + self.segment(segments)))


class FeedForward(nn.Module):
    """d -> inner -> d with GELU."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.inner)
        self.down = nn.Linear(config.inner, config.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class EncoderLayer(nn.Module):
    """Token mixing, then feed-forward, each with residual and layer norm after it (post-LN).

    The mixing block is called `attention` or `convolution`, which is what the weight bank tells the
    two branches by.
    """

    def __init__(self, layer: Layer, config: EncoderConfig) -> None:
        super().__init__()
        if isinstance(layer, Attention):
            self._branch = "attention"
            self.attention = GraphAttention(layer.graph, config.width, config.heads)
        else:
            self._branch = "convolution"
            self.convolution = LightConvolution(layer.kernel, config.width, config.heads)
        self.mixing_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.feed_forward = FeedForward(config)
        self.output_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        documents: Documents | None = None,
        rows: Tensor | None = None,
        with_map: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Computes the layer.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.
            documents: Where each document of packed sequences lies; mixing stays inside of it. None mixes
                whole sequences.
            rows: (m,) indices into the flattened (B * n): the only tokens whose output is wanted, since what
                follows the mixing treats each token alone. None computes all.

            with_map: Whether to return the attention's map too, see `GraphAttention`; excludes `documents`.

        Returns:
            (B, n, d), or (m, d) for the chosen rows; with `with_map` also the map (B, H, n, n), or None
            where the layer has none.
        """
        weights = None
        if self._branch == "convolution":
            mixed = self.convolution(x, mask, documents, rows)
        elif with_map:
            mixed, weights = self.attention(x, mask, documents, rows, with_map)
        else:
            mixed = self.attention(x, mask, documents, rows)
        x = self.mixing_norm(select_rows(x, rows) + self.dropout(mixed))
        x = self.output_norm(x + self.dropout(self.feed_forward(x)))
        return (x, weights) if with_map else x


class Encoder(nn.Module):
    """Embeddings and one layer for each layer of the backbone.

    Attributes:
        checkpointing: Whether training keeps the input of each layer only and computes the rest again for
            the backward pass: less memory, a third more time.

    Args:
        backbone: The token-mixing layers.
        config: The sizes.
    """

    def __init__(self, backbone: Backbone, config: EncoderConfig) -> None:
        super().__init__()
        self.backbone = backbone
        self.config = config
        self.checkpointing = False
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(EncoderLayer(layer, config) for layer in backbone.layers)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor | None = None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        documents: Documents | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Encodes a batch.

        Args:
            ids: (B, n) token ids.
            mask: (B, n) booleans, True at real tokens; None where there is no padding.
            segments: (B, n) segment ids; None means all 0.
            positions: (B, n) positions; None means 0, 1, 2, ...
            documents: The documents of packed sequences, which do not see each other; None: all is one.
            rows: (m,) indices into the flattened (B * n): the only tokens whose state is wanted, which spares
                most of the last layer. None: all.

        Returns:
            (B, n, d) hidden states, or (m, d) for the chosen rows; those of padded tokens are unspecified.

        Raises:
            ValueError: n is larger than `max_positions`.
        """
        x = self.embeddings(ids, segments, positions)
        for number, layer in enumerate(self.layers, start=1):
            arguments = (x, mask, documents, rows if number == len(self.layers) else None)
            if self.checkpointing and self.training:
                x = checkpoint(layer, *arguments, use_reentrant=False)
            else:
                x = layer(*arguments)
        return x


def initialise(module: nn.Module, std: float = 0.02) -> None:
    """BERT's initialisation: normal weights, zero biases; in place.

    Convolution kernels pass through a softmax, so they start at unit scale: at 0.02 every head would
    start as the same moving average.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, LightConvolution):
            nn.init.normal_(part.kernel)
