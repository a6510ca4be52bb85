"""The likeliest tokens for the masks of a text."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from autobert_zero.errors import UserError
from autobert_zero.finetune.models import Pretrained
from autobert_zero.predict.classify import encode
from autobert_zero.predict.head import Head, Record, Runner, max_length, shortest
from autobert_zero.predict.read import Row, Wanted


class MaskHead(Head):
    """Tokens for every mask of a text, each predicted with all masks in place.

    Args:
        model: A masked language model.
        top_k: How many tokens for each mask.

    Raises:
        UserError: The tokenizer has no mask, or fewer tokens than are asked for.
    """

    auto = AutoModelForMaskedLM
    wanted = Wanted()

    def __init__(self, model: Pretrained, top_k: int) -> None:
        self._model = model
        self._tokenizer = model.tokenizer
        mask = self._tokenizer.mask_token
        if mask is None:
            raise UserError(f"the tokenizer of {model.source} has no token for a mask; use --task embed")
        if top_k > model.config.vocab_size:
            raise UserError(
                f"--top-k {top_k} is more than the {model.config.vocab_size} tokens of {model.source}"
            )
        self._mask: str = mask
        self._top_k = top_k
        self.about = f"the {top_k} likeliest tokens for each {mask}"

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

    def nothing(self, row: Row) -> Record:
        return {"filled": None, "masks": []}

    def flat(self, record: Record) -> dict[str, Any]:
        best = [tokens[0] for tokens in record["masks"]]
        return {
            "filled": record["filled"],
            "tokens": " ".join(each["token"] for each in best),
            "probabilities": " ".join(str(each["probability"]) for each in best),
        }

    def _likeliest(self, output: Any, inputs: Mapping[str, Tensor]) -> Sequence[Any]:
        """For each text the ids and the probabilities of its masks: two arrays (masks, k)."""
        masked = inputs["input_ids"] == self._tokenizer.mask_token_id  # (B, n)
        probabilities = torch.softmax(output.logits[masked].float(), -1)  # (masks, v)
        best = probabilities.topk(self._top_k)
        counts = masked.sum(1).tolist()
        return list(
            zip(
                (each.cpu().numpy() for each in best.indices.split(counts)),
                (each.cpu().numpy() for each in best.values.split(counts)),
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
        for tokens in masks:  # those beyond the limit of the model stay
            filled = filled.replace(self._mask, tokens[0]["token"], 1)
        return {"filled": filled, "masks": masks}
