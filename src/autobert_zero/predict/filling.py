"""Predicts the most likely tokens for the masks of a text."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from autobert_zero.errors import UserError
from autobert_zero.finetune.models import Pretrained
from autobert_zero.predict.classify import encode
from autobert_zero.predict.head import Head, Record, Runner, max_length, shortest
from autobert_zero.predict.read import Row, TaskColumns


class MaskHead(Head):
    """Predicts tokens for every mask of a text while all masks are in place.

    Args:
        model: A masked language model.
        top_k: Number of tokens per mask.

    Raises:
        UserError: The tokenizer has no mask token, or fewer tokens than `top_k`.
    """

    auto = AutoModelForMaskedLM
    task_columns = TaskColumns()

    def __init__(self, model: Pretrained, top_k: int) -> None:
        self._model = model
        self._tokenizer = model.tokenizer
        mask = self._tokenizer.mask_token
        if mask is None:
            raise UserError(f"the tokenizer of {model.source} has no mask token; use --task embed")
        if top_k > model.config.vocab_size:
            raise UserError(
                f"--top-k {top_k} exceeds the {model.config.vocab_size} tokens in the vocabulary of "
                f"{model.source}"
            )
        self._mask: str = mask
        self._top_k = top_k
        self.about = f"the {top_k} most likely tokens for each {mask}"

    def check(self, row: Row) -> None:
        if not row.empty and self._mask not in row.cells[0]:
            raise UserError(
                f"{row.place}: there is no {self._mask} in {row.cells[0]!r:.60}; write it where a "
                "token is to be predicted, or use --task embed"
            )

    def predict(self, rows: Sequence[Row], runner: Runner) -> tuple[list[Record], int]:
        features, cut = encode(self._model, rows, max_length(self._model))
        results = runner(features, self._likeliest)
        return [self._record(row.cells[0], *result) for row, result in zip(rows, results, strict=True)], cut

    def empty_record(self, row: Row) -> Record:
        return {"filled": None, "masks": []}

    def flatten(self, record: Record) -> dict[str, Any]:
        best = [tokens[0] for tokens in record["masks"]]
        return {
            "filled": record["filled"],
            "tokens": " ".join(token["token"] for token in best),
            "probabilities": " ".join(str(token["probability"]) for token in best),
        }

    def _likeliest(self, output: Any, inputs: Mapping[str, Tensor]) -> Sequence[Any]:
        """The ids and the probabilities of the best tokens of each text: two arrays (masks, k)."""
        masked = inputs["input_ids"] == self._tokenizer.mask_token_id  # (B, n)
        probabilities = torch.softmax(output.logits[masked].float(), -1)  # (masks, v)
        best = probabilities.topk(self._top_k)
        counts = masked.sum(1).tolist()
        return list(
            zip(
                (ids.cpu().numpy() for ids in best.indices.split(counts)),
                (values.cpu().numpy() for values in best.values.split(counts)),
                strict=True,
            )
        )

    def _record(self, text: str, ids: Any, probabilities: Any) -> Record:
        masks = [
            [
                {"token": self._tokenizer.decode([token]), "probability": probability}
                for token, probability in zip(tokens.tolist(), shortest(values), strict=True)
            ]
            for tokens, values in zip(ids, probabilities, strict=True)
        ]
        filled = text
        for tokens in masks:  # masks beyond the model's maximum length are not filled
            filled = filled.replace(self._mask, tokens[0]["token"], 1)
        return {"filled": filled, "masks": masks}
