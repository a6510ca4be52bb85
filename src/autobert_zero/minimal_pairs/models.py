"""Masked language models as functions from token ids to logits at chosen positions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from autobert_zero.errors import UserError
from autobert_zero.finetune.loading import load_with_report
from autobert_zero.finetune.models import open_model
from autobert_zero.hf import AutoBertZeroForMaskedLM, AutoBertZeroForPreTraining
from autobert_zero.hf.sources import to_masked_lm
from autobert_zero.nn import MaskedLM
from autobert_zero.training.precision import Precision, autocast


class Predictor(Protocol):
    """Predicts tokens at chosen positions, without gradients.

    The encoder runs in the given precision. The head runs in float32: bfloat16 would round logits of 10 to
    steps of 0.06, which is more than the difference between the sentences of many pairs.
    """

    def __call__(self, ids: Tensor, rows: Tensor) -> Tensor:
        """From ids (B, n) without padding and indices (m,) into B * n to logits (m, vocabulary), float32."""
        ...


@dataclass(frozen=True)
class Scored:
    """A model that can be scored.

    Attributes:
        name: The user's name for the model.
        model: Ours, or one of `transformers` with a masked-language-model head, in float32.
        tokenizer: Tokenizer of the model.
        positions: Maximum number of tokens in a sequence; None: no limit.
    """

    name: str
    model: MaskedLM | PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    positions: int | None


def open_scored(source: str) -> Scored:
    """Opens a saved or exported model, or one of the Hub, whose config names a masked-LM head.

    Raises:
        UserError: There is no such model, it has no tokenizer or no masked-language-model head, or its
            weights cannot be read.
    """
    opened = open_model(source)
    headless = f"{source} has no masked-language-model head"
    if type(opened.config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise UserError(f"{headless}: models of type {opened.config.model_type} have none")
    try:
        model, info = load_with_report(AutoModelForMaskedLM, opened.source, dtype=torch.float32)
    except UserError as error:
        raise UserError(f"{headless} that can be read ({error})") from None
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise UserError(
            f"{headless}: it lacks {missing[0]} and {len(missing) - 1} more tensors; give the pre-trained "
            "model, not one that was fine-tuned or saved without its head"
        )
    return Scored(source, model, opened.tokenizer, opened.positions)


def predictor(model: MaskedLM | PreTrainedModel, precision: Precision) -> Predictor:
    """The function that a model computes at chosen positions.

    Args:
        model: On its device. Ours takes the way of the training, which computes the last layer and the head
            at the chosen positions only; others compute the head only there.
        precision: Number format of the encoder; see `Predictor`.
    """
    if isinstance(model, AutoBertZeroForMaskedLM | AutoBertZeroForPreTraining) and tied(model):
        model = to_masked_lm(model)
    model.eval()
    device = next(model.parameters()).device

    @torch.inference_mode()
    def predict(ids: Tensor, rows: Tensor) -> Tensor:
        ids, rows = ids.to(device), rows.to(device)
        if isinstance(model, MaskedLM):
            with autocast(precision, device):
                hidden = model.encoder(ids, rows=rows)  # (m, d)
            return model.predict(hidden.float())
        base: Any = model.base_model
        with autocast(precision, device):
            output = base(input_ids=ids, attention_mask=torch.ones_like(ids))
        states = getattr(output, "last_hidden_state", None)
        if states is None or states.shape[:2] != ids.shape:
            raise UserError(f"{type(model).__name__} does not keep one state per token and cannot be scored")
        output.last_hidden_state = states.flatten(0, 1)[rows][None].float()  # (1, m, d)
        with _returning(base, output):
            head = model(input_ids=ids)
        # BERT's models of both pre-training tasks call theirs so.
        logits: Tensor = head.prediction_logits if "prediction_logits" in head else head.logits
        return logits[0].float()  # (m, v)

    return predict


def tied(model: PreTrainedModel) -> bool:
    """Whether the head's matrix is the token embedding's, as in `nn.MaskedLM`."""
    decoder: Any = model.get_output_embeddings()
    return decoder.weight is model.get_input_embeddings().weight and decoder.bias is model.bias


@contextmanager
def _returning(base: Any, output: Any) -> Iterator[None]:
    """Lets a model's encoder return what it is given: calling the model then computes its head alone.

    Heads have other names and parts in every architecture; this runs each as its own class does.
    """
    base.forward = lambda *args, **kwargs: output
    try:
        yield
    finally:
        del base.forward
