"""Loads the encoders to compare without their heads: ours, exported ones, and any of `transformers`."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.finetune.loading import load_trained
from autobert_zero.finetune.models import open_model

_POOLING_FILE = Path("1_Pooling", "config.json")
"""File of sentence-transformers with the pooling of a sentence's states."""


@dataclass(frozen=True)
class ComparedEncoder:
    """A pre-trained or fine-tuned encoder in single precision and evaluation mode.

    Attributes:
        name: Name as the user gave it.
        source: Folder, or name on the Hub.
        model: The encoder without a head.
        tokenizer: Tokenizer of the encoder.
        positions: Maximum number of tokens in a sequence; None: no limit.
        pooling: Pooling of a sentence's states: `mean`, or `cls` if its folder says so.
    """

    name: str
    source: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    positions: int | None
    pooling: str

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def load_encoder(name: str) -> ComparedEncoder:
    """Loads an encoder.

    Args:
        name: A folder of `save_pretrained`, of `export` or of sentence-transformers, or a name on the Hub.

    Raises:
        UserError: There is no such model, it has no tokenizer, or its weights cannot be read.
    """
    opened = open_model(name)
    if opened.config.is_encoder_decoder:
        raise UserError(f"{name} has a decoder besides its encoder; only encoders can be compared")
    model = load_trained(AutoModel, opened.source, dtype=torch.float32)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # not used: sentences are pooled from the states
    return ComparedEncoder(
        name, opened.source, model.eval(), opened.tokenizer, opened.positions, _pooling(opened.source)
    )


def _pooling(source: str) -> str:
    path = Path(source) / _POOLING_FILE
    if not path.is_file():
        return "mean"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        chosen = [
            mode
            for mode in ("cls", "mean")
            if settings.get(f"pooling_mode_{'cls_token' if mode == 'cls' else 'mean_tokens'}")
        ] or [settings["pooling_mode"]]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}); export or save the model again") from None
    if len(chosen) > 1 or chosen[0] not in ("cls", "mean"):
        raise UserError(f"{path} pools by {', '.join(map(str, chosen))}; only cls or mean can be compared")
    return chosen[0]
