"""Embeds texts by pooling the last hidden states, as the model's folder says for sentence-transformers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers import AutoModel

from autobert_zero.errors import UserError
from autobert_zero.finetune.models import Pretrained
from autobert_zero.hf.sentence_pooling import sentence_pooling
from autobert_zero.predict.classify import encode
from autobert_zero.predict.head import Head, Record, Runner, max_length
from autobert_zero.predict.read import Row


class EmbeddingHead(Head):
    """Computes a vector for each text or pair of texts.

    Args:
        model: Any encoder; its head, if it has one, is not used.

    Raises:
        UserError: The model has an encoder and a decoder, or its pooling is not known.
    """

    auto = AutoModel
    formats: tuple[str, ...] = ("npy", "jsonl")

    def __init__(self, model: Pretrained) -> None:
        if model.config.is_encoder_decoder:
            raise UserError(
                f"{model.source} has a decoder besides its encoder: texts are embedded with encoders only"
            )
        self._model = model
        self._width: int = model.config.hidden_size
        self._pooling = sentence_pooling(model.source)
        self.about = f"embeddings of width {self._width} ({self._pooling})"

    def predict(self, rows: Sequence[Row], runner: Runner) -> tuple[list[Record], int]:
        features, cut = encode(self._model, rows, max_length(self._model))
        return [{"embedding": vector} for vector in runner(features, self._pooled)], cut

    def empty_record(self, row: Row) -> Record:
        return {"embedding": np.full(self._width, np.nan, dtype=np.float32)}

    def _pooled(self, output: Any, inputs: Mapping[str, Tensor]) -> Sequence[np.ndarray[Any, Any]]:
        vectors = self._pooling(output.last_hidden_state.float(), inputs["attention_mask"].bool())  # (B, d)
        return list(vectors.cpu().numpy())
