"""A BERT-style encoder whose token-mixing layers are a backbone."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.convolution import LightConvolution
from autobert_zero.nn.documents import Documents
from autobert_zero.nn.layer import EncoderLayer, layer_norm
from autobert_zero.space import Backbone


class Embeddings(nn.Module):
    """Token, segment and, where the trunk has them, position embeddings, normalised, as in BERT."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.max_positions = config.max_positions
        self.token = nn.Embedding(config.vocab_size, config.width)
        self.position = (
            nn.Embedding(config.max_positions, config.width) if config.positions == "learned" else None
        )
        self.segment = nn.Embedding(config.token_types, config.width)
        self.norm = layer_norm(config)
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
            positions: (B, n) or (1, n) positions; None means 0, 1, 2, ... Unused without a table of them.
            embedded: (B, n, d) in place of the token embeddings.

        Returns:
            (B, n, d).

        Raises:
            ValueError: n is larger than `max_positions`, with learned positions.
        """
        x = self.token(ids) if embedded is None else embedded
        if self.position is not None:
            if positions is None:
                tokens, limit = x.shape[1], self.max_positions
                if tokens > limit:
                    raise ValueError(
                        f"{tokens} tokens are more than the {limit} positions; truncate the text"
                    )
                positions = torch.arange(tokens, device=x.device)[None]  # (1, n)
            x = x + self.position(positions)
        if segments is None:
            segments = torch.zeros(1, 1, dtype=torch.long, device=x.device)  # one for all tokens
        # Modules are called, never read: hooks, adapters and offloaded weights act on calls only.
        return self.dropout(self.norm(x + self.segment(segments)))


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
        self.layers = make_layers(backbone, config)
        self.final_norm = final_norm(config)

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
            ValueError: n is larger than `max_positions`, with learned positions.
        """
        x = self.embeddings(ids, segments, positions)
        checkpointing = self.checkpointing and self.training
        x = run_layers(self.layers, x, mask, positions, documents, rows, checkpointing=checkpointing)
        return self.final_norm(x)


def run_layers(
    layers: nn.ModuleList,
    x: Tensor,
    mask: Tensor | None = None,
    positions: Tensor | None = None,
    documents: Documents | None = None,
    rows: Tensor | None = None,
    *,
    checkpointing: bool = False,
    states: list[Tensor] | None = None,
    maps: list[Tensor] | None = None,
) -> Tensor:
    """Runs the layers of an encoder one after the other.

    Args:
        layers: The layers, each an `EncoderLayer`.
        x: (B, n, d) embeddings.
        mask: (B, n) booleans, True at real tokens, or None.
        positions: (B, n) or (1, n), or None; see `EncoderLayer`.
        documents: The documents of packed sequences, or None.
        rows: (m,) indices of the only tokens whose last state is wanted, or None.
        checkpointing: Whether activations are computed again for the backward pass.
        states: List that the output of every layer is appended to.
        maps: List that the map of every layer with one is appended to; excludes `documents`.

    Returns:
        The output of the last layer, before the final norm.
    """
    for number, layer in enumerate(layers, start=1):
        wanted = rows if number == len(layers) else None
        # Positional arguments, since gradient checkpointing looks for tensors among them.
        arguments = (x, mask, documents, wanted, maps is not None, positions)
        if checkpointing:
            # Keeping the random state makes the host wait for the device; only dropout needs it.
            random = any(isinstance(part, nn.Dropout) and part.p > 0 for part in layer.modules())
            result = checkpoint(layer, *arguments, use_reentrant=False, preserve_rng_state=random)
        else:
            result = layer(*arguments)
        x, weights = (result, None) if maps is None else result
        if maps is not None and weights is not None:
            maps.append(weights)
        if states is not None:
            states.append(x)
    return x


def make_layers(
    backbone: Backbone, config: EncoderConfig, kind: type[EncoderLayer] = EncoderLayer
) -> nn.ModuleList:
    """Builds one layer of a kind for each layer of the backbone."""
    return nn.ModuleList(kind(layer, config, first=index == 0) for index, layer in enumerate(backbone.layers))


def final_norm(config: EncoderConfig) -> nn.Module:
    """Builds what follows the last layer: a layer norm where the layers have theirs before the sub-blocks."""
    return layer_norm(config) if config.norm == "pre" else nn.Identity()


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
