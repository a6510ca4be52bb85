"""Task heads on top of an encoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.documents import Documents
from autobert_zero.nn.encoder import Encoder, initialise
from autobert_zero.nn.layer import layer_norm
from autobert_zero.nn.rows import mean_state
from autobert_zero.nn.vocabulary import vocabulary_logits
from autobert_zero.space import Backbone


class Pooler(nn.Module):
    """A summary of a sequence: a projection of the first token's state (BERT), of the mean of all, or both.

    Without an attention that spans the sequence, the first token has only seen the tokens that the kernels
    reach; the mean sees all tokens, but not their order.

    Args:
        width: d.
        pooling: `cls`, the first token's state; `mean`, the mean of all; `cls+mean`, both side by side, after
            the same projection, so that the weights do not depend on it.

    Attributes:
        width: Width w of the summary: d, or 2 d for both.
    """

    def __init__(self, width: int, pooling: str = "cls") -> None:
        super().__init__()
        self.pooling = pooling.split("+")
        self.width = width * len(self.pooling)
        self.dense = nn.Linear(width, width)

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """Summarises.

        Args:
            hidden: (B, n, d).
            mask: (B, n) booleans, True at real tokens; None where there is no padding.

        Returns:
            (B, w).
        """
        summaries = [hidden[:, 0] if kind == "cls" else mean_state(hidden, mask) for kind in self.pooling]
        return torch.cat([torch.tanh(self.dense(summary)) for summary in summaries], dim=-1)


class MaskedLM(nn.Module):
    """An encoder with BERT's masked-language-model head, which computes the masked positions only.

    The decoder shares the token embedding's weight.
    """

    def __init__(self, backbone: Backbone, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = Encoder(backbone, config)
        self.transform = nn.Linear(config.width, config.width, bias=config.biases)
        self.norm = layer_norm(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        initialise(self)

    def forward(
        self,
        ids: Tensor,
        rows: Tensor,
        mask: Tensor | None = None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        documents: Documents | None = None,
    ) -> Tensor:
        """Predicts tokens.

        Args:
            ids: (B, n) token ids, some of them masked.
            rows: (m,) indices into the flattened batch (B * n) of the tokens to predict.
            mask: (B, n) booleans, True at real tokens; None where there is no padding.
            segments: (B, n) segment ids; None means all 0.
            positions: (B, n) positions; None means 0, 1, 2, ...
            documents: See `Encoder`.

        Returns:
            (m, vocabulary) logits.
        """
        return self.predict(self.encoder(ids, mask, segments, positions, documents, rows))

    def predict(self, hidden: Tensor) -> Tensor:
        """(m, d) -> (m, vocabulary) logits."""
        hidden = self.norm(F.gelu(self.transform(hidden)))
        return vocabulary_logits(hidden, self.encoder.embeddings.token.weight, self.bias)


class PreTraining(MaskedLM):
    """A masked language model that also predicts whether the second segment follows the first (BERT)."""

    def __init__(self, backbone: Backbone, config: EncoderConfig) -> None:
        super().__init__(backbone, config)
        self.pooler = Pooler(config.width)
        self.seq_relationship = nn.Linear(config.width, 2)
        initialise(self.pooler)
        initialise(self.seq_relationship)

    def forward(  # type: ignore[override]
        self,
        ids: Tensor,
        rows: Tensor,
        mask: Tensor | None = None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        documents: Documents | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `MaskedLM`, and with the logits (B, 2); class 0: the second segment follows the first."""
        first = torch.arange(0, ids.numel(), ids.shape[1], device=ids.device)  # (B,)
        hidden = self.encoder(ids, mask, segments, positions, documents, torch.cat([rows, first]))
        chosen, summary = hidden[: len(rows)], hidden[len(rows) :]  # (m, d), (B, d)
        return self.predict(chosen), self.seq_relationship(self.pooler(summary[:, None]))
