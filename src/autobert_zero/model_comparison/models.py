"""Loads the encoders to compare without their heads: ours, exported ones, and any of `transformers`."""

from dataclasses import dataclass

import torch
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.finetune.loading import load_trained
from autobert_zero.finetune.models import open_model
from autobert_zero.hf.sentence_pooling import SentencePooling, sentence_pooling


@dataclass(frozen=True)
class ComparedEncoder:
    """A pre-trained or fine-tuned encoder in single precision and evaluation mode.

    Attributes:
        name: Name as the user gave it.
        source: Folder, or name on the Hub.
        model: The encoder without a head.
        tokenizer: Tokenizer of the encoder.
        positions: Maximum number of tokens in a sequence; None: no limit.
        pooling: Pooling of a sentence's states, as its folder says.
    """

    name: str
    source: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    positions: int | None
    pooling: SentencePooling

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def load_encoder(name: str) -> ComparedEncoder:
    """Loads an encoder.

    Args:
        name: A folder of `save_pretrained`, of `export` or of sentence-transformers, or a name on the Hub.

    Raises:
        UserError: There is no such model, it has no tokenizer, or its weights or its pooling cannot be read.
    """
    opened = open_model(name)
    if opened.config.is_encoder_decoder:
        raise UserError(f"{name} has a decoder besides its encoder; only encoders can be compared")
    model = load_trained(AutoModel, opened.source, dtype=torch.float32)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # not used: sentences are pooled from the states
    pooling = sentence_pooling(opened.source)
    return ComparedEncoder(name, opened.source, model.eval(), opened.tokenizer, opened.positions, pooling)
