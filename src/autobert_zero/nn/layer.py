"""One layer of an encoder: token mixing, then feed-forward."""

from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.attention import GraphAttention
from autobert_zero.nn.convolution import LightConvolution
from autobert_zero.nn.documents import Documents
from autobert_zero.nn.fork import fork
from autobert_zero.nn.rows import select_rows
from autobert_zero.space import Attention, Layer


class FeedForward(nn.Module):
    """d -> inner -> d with GELU, which GeGLU multiplies by a second projection (Shazeer 2020)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.gated = config.feed_forward_kind == "geglu"
        self.up = nn.Linear(config.width, config.inner * (1 + self.gated), bias=config.biases)
        self.down = nn.Linear(config.inner, config.width, bias=config.biases)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to the same shape."""
        if not self.gated:
            return self.down(F.gelu(self.up(x)))
        x, gate = self.up(x).chunk(2, dim=-1)
        return self.down(F.gelu(x) * gate)


class EncoderLayer(nn.Module):
    """Token mixing, then feed-forward, each with a residual and a layer norm.

    The norms follow the residual sums (post-norm, BERT) or precede the sub-blocks (pre-norm), in which case
    the first layer has none before its mixing: the embeddings are normalised already (ModernBERT).

    The mixing block is called `attention` or `convolution`; the weight bank tells the two branches apart by
    these names.

    Args:
        layer: The token mixing.
        config: Sizes and trunk.
        first: Whether it is the first layer of its encoder.
    """

    def __init__(self, layer: Layer, config: EncoderConfig, first: bool = False) -> None:
        super().__init__()
        if isinstance(layer, Attention):
            self._branch = "attention"
            self.attention = GraphAttention(
                layer.graph, config.width, config.heads, config.biases, config.rotary_base
            )
        else:
            self._branch = "convolution"
            self.convolution = LightConvolution(layer.kernel, config.width, config.heads, config.biases)
        self.pre_norm = config.norm == "pre"
        self.mixing_norm = nn.Identity() if self.pre_norm and first else layer_norm(config)
        self.feed_forward = FeedForward(config)
        self.output_norm = layer_norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        documents: Documents | None = None,
        rows: Tensor | None = None,
        with_map: bool = False,
        positions: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Computes the layer.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.
            documents: The documents of packed sequences, each mixed as if it were alone; None mixes whole
                sequences.
            rows: (m,) indices into the flattened (B * n): the only tokens whose output is needed, since
                everything after the mixing treats each token alone. None computes all.
            with_map: Whether to return the attention's map too, see `GraphAttention`; excludes `documents`.
            positions: (B, n) or (1, n) positions of the tokens, for attentions; None means 0, 1, 2, ...

        Returns:
            (B, n, d), or (m, d) for the chosen rows; with `with_map` also the map (B, H, n, n), or None
            where the layer has none.
        """
        weights = None
        x, source = (x, self.mixing_norm(x)) if self.pre_norm else fork(x)
        if self._branch == "convolution":
            mixed = self.convolution(source, mask, documents, rows)
        elif with_map:
            mixed, weights = self.attention(source, mask, documents, rows, with_map, positions)
        else:
            mixed = self.attention(source, mask, documents, rows, positions=positions)
        x = select_rows(x, rows) + self.dropout(mixed)
        if self.pre_norm:
            x = x + self.dropout(self.feed_forward(self.output_norm(x)))
        else:
            x, source = fork(self.mixing_norm(x))
            x = self.output_norm(x + self.dropout(self.feed_forward(source)))
        return (x, weights) if with_map else x


def layer_norm(config: EncoderConfig) -> nn.LayerNorm:
    """Builds a layer norm of the trunk."""
    return nn.LayerNorm(config.width, eps=config.norm_epsilon, bias=config.biases)
