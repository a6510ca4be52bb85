"""Predicts the most likely tokens for the masks of a text."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM

from autobert_zero.errors import UserError, counted
from autobert_zero.finetune.models import Pretrained
from autobert_zero.predict.classify import encode
from autobert_zero.predict.head import TOKENS, Head, Record, Runner, max_length, shortest
from autobert_zero.predict.read import Row, TaskColumns

_LOGITS = 2**26
"""Maximum number of logits in a batch, 256 MiB: the model computes those of every token."""


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
        self._left = 0
        self.token_limit = max(1, min(TOKENS, _LOGITS // model.config.vocab_size))
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

    @property
    def remark(self) -> str | None:
        """The number of masks beyond the maximum length, which no prediction fills."""
        return f"{counted(self._left, 'mask')} beyond the maximum length not filled" if self._left else None

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
        """For each text the ids and the probabilities of the best tokens, (masks, k), and the ids before."""
        masked = inputs["input_ids"] == self._tokenizer.mask_token_id  # (B, n)
        probabilities = torch.softmax(output.logits[masked].float(), -1)  # (masks, v)
        best = probabilities.topk(self._top_k)
        before = inputs["input_ids"].roll(1, 1)[masked]  # (masks,)
        counts = masked.sum(1).tolist()
        parts = (tensor.split(counts) for tensor in (best.indices, best.values, before))
        return [tuple(tensor.cpu().numpy() for tensor in text) for text in zip(*parts, strict=True)]

    def _record(self, text: str, ids: Any, probabilities: Any, before: Any) -> Record:
        masks = [
            [
                {"token": self._tokenizer.decode([token]), "probability": probability}
                for token, probability in zip(tokens.tolist(), shortest(values), strict=True)
            ]
            for tokens, values in zip(ids, probabilities, strict=True)
        ]
        filled, *rest = text.split(self._mask)
        self._left += len(rest) - len(masks)
        best = self._tokenizer.mask_token_id
        for place, after in enumerate(rest):
            if place < len(masks):
                previous = int(before[place])  # the best token of the mask before, if that is next to it
                previous = best if previous == self._tokenizer.mask_token_id else previous
                best = int(ids[place][0])
                filled = self._appended(filled, previous, best) + after
            else:
                filled += self._mask + after
        return {"filled": filled, "masks": masks}

    def _appended(self, text: str, previous: int, token: int) -> str:
        """A text with a token after it, joined as the tokenizer decodes it after the previous one."""
        alone = self._tokenizer.decode([token])
        unknown = self._tokenizer.unk_token_id
        if alone and (previous == unknown or previous not in self._tokenizer.all_special_ids):
            start = self._tokenizer.decode([previous])
            end = self._tokenizer.decode([previous, token]).removeprefix(start)
            if alone[:1].isspace() or not (end[:1].isspace() or start[-1:].isspace()):
                return text.rstrip(" ") + end  # the rest of a word, or a token with its own space
        return text + alone
