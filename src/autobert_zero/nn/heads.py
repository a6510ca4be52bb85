"""Task heads on top of an encoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero.nn.encoder import Encoder, EncoderConfig, initialise
from autobert_zero.space import Backbone


class Pooler(nn.Module):
    """BERT's summary of a sequence: a projection of the first token's state.

    Args:
        width: d.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, n, d) -> (B, d)."""
        return torch.tanh(self.dense(hidden[:, 0]))


class MaskedLM(nn.Module):
    """An encoder with BERT's masked-language-model head, which computes the masked positions only.

    The decoder shares the token embedding's weight.

    Args:
        backbone: The token-mixing layers.
        config: The sizes.
    """

    def __init__(self, backbone: Backbone, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = Encoder(backbone, config)
        self.transform = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        initialise(self)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predicts tokens.

        Args:
            ids: (B, n) token ids, some of them masked.
            positions: (m,) indices into the flattened batch (B * n) of the tokens to predict.
            mask: (B, n) booleans, True at real tokens; None where there is no padding.

        Returns:
            (m, vocabulary) logits.
        """
        hidden = self.encoder(ids, mask)
        chosen = hidden.flatten(0, 1).index_select(0, positions)  # (m, d)
        return F.linear(
            self.norm(F.gelu(self.transform(chosen))), self.encoder.embeddings.token.weight, self.bias
        )
