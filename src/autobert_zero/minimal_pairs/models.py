"""Opens masked language models, as functions from token ids to logits at chosen positions."""

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
from autobert_zero.finetune.loading import check_sizes, load_with_report
from autobert_zero.finetune.models import open_model
from autobert_zero.hf import AutoBertZeroForMaskedLM, AutoBertZeroForPreTraining
from autobert_zero.hf.sources import to_masked_lm
from autobert_zero.nn import MaskedLM
from autobert_zero.training.precision import Precision, autocast


class Predictor(Protocol):
    """Predicts tokens at chosen positions, without gradients.

    The encoder runs in the given precision. The head runs in float32: bfloat16 would round logits near 10 to
    multiples of 0.06, which exceeds the difference between the sentences of many pairs.
    """

    def __call__(self, ids: Tensor, rows: Tensor) -> Tensor:
        """Maps ids (B, n) without padding and indices (m,) into B * n to float32 logits (m, vocabulary)."""
        ...


@dataclass(frozen=True)
class ScoredModel:
    """A model to be scored.

    Attributes:
        name: The user's name for the model.
        model: A model of ours or of `transformers` with a masked-language-model head, in float32.
        tokenizer: Tokenizer of the model.
        positions: Maximum number of tokens in a sequence; None: no limit.
    """

    name: str
    model: MaskedLM | PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    positions: int | None


def open_scored(source: str) -> ScoredModel:
    """Opens a saved or exported model, or a model on the Hub, that has a masked-language-model head.

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
        check_sizes(source, (name for name, *_ in info["mismatched_keys"]))
    except UserError as error:
        raise UserError(f"{headless} that can be read ({error})") from None
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise UserError(
            f"{headless}: it lacks {missing[0]} and {len(missing) - 1} more tensors; give the pre-trained "
            "model, not one that was fine-tuned or saved without its head"
        )
    return ScoredModel(source, model, opened.tokenizer, opened.positions)


def make_predictor(model: MaskedLM | PreTrainedModel, precision: Precision) -> Predictor:
    """Makes the function that predicts tokens at chosen positions.

    Args:
        model: The model, on its device. Ours computes the last layer and the head at the chosen positions
            only, as in training; other models compute only the head there.
        precision: Number format of the encoder; see `Predictor`.

    Returns:
        The function; it raises a `UserError` if the model does not keep one state per token.
    """
    if isinstance(model, AutoBertZeroForMaskedLM | AutoBertZeroForPreTraining) and has_tied_head(model):
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
        with _fixed_output(base, output):
            head = model(input_ids=ids)
        # Models with the heads of both of BERT's pre-training tasks use this name.
        logits: Tensor = head.prediction_logits if "prediction_logits" in head else head.logits
        return logits[0].float()  # (m, v)

    return predict


def has_tied_head(model: PreTrainedModel) -> bool:
    """Whether the head shares the token embedding's matrix, as in `nn.MaskedLM`."""
    decoder: Any = model.get_output_embeddings()
    return decoder.weight is model.get_input_embeddings().weight and decoder.bias is model.bias


@contextmanager
def _fixed_output(base: Any, output: Any) -> Iterator[None]:
    """Makes a model's encoder return a fixed output, so that calling the model computes only its head.

    Names and parts of heads differ between architectures; this runs each head as its own class does.
    """
    base.forward = lambda *args, **kwargs: output
    try:
        yield
    finally:
        del base.forward
