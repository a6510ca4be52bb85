"""Tiny configurations, batches and models for the tests of `autobert_zero.hf`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertPreTrainedModel

from autobert_zero.hf import AutoBertZeroConfig
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.space import Backbone

WITHOUT_THE_PACKAGE = """
import sys
sys.modules["autobert_zero"] = None  # importing it is an ImportError
import torch, transformers
auto, folder, inputs, outputs = sys.argv[1:]
model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True).eval()
with torch.no_grad():
    torch.save(list(model(**torch.load(inputs)).to_tuple()), outputs)
again = folder + "-again"
model.save_pretrained(again)
getattr(transformers, auto).from_pretrained(again, trust_remote_code=True)
"""

STANDARD = "softmax(scale(Q @ K.T)) @ V"
MIXED = [
    "conv 5",
    "softmax(scale(Q @ -logsigmoid(-K).T)) @ (Q + K)",
    "softmax(Q) @ (softmax(K.T) @ V)",
    "softmax(scale(Q @ (scale(K) + V).T)) @ V",
]
"""A convolution, published attentions, and a linear attention, which has no map."""

Model = TypeVar("Model", bound=nn.Module)

VOCABULARY, WIDTH, HEADS, TOKENS = 50, 16, 4, 12
LENGTHS = (12, 7, 1)
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}


def config(backbone: list[str] | str | Backbone | None = None, /, **changes: object) -> AutoBertZeroConfig:
    """A tiny configuration; of `MIXED`, if no other backbone is given."""
    return AutoBertZeroConfig(backbone=MIXED if backbone is None else backbone, **SIZES | changes)


def bert_config(**changes: object) -> BertConfig:
    """A tiny BERT of three layers; eager, so that it returns its maps."""
    return BertConfig(**SIZES | {"num_hidden_layers": 3, "attn_implementation": "eager"} | changes)


def save_bert(folder: Path, tokenizer: Tokenizer, kind: type[BertPreTrainedModel], **changes: object) -> Path:
    """Saves a tiny BERT with new weights and the given tokenizer; 32 positions."""
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 32}
    torch.manual_seed(0)
    kind(bert_config(**sizes | changes)).save_pretrained(folder)
    wrap_tokenizer(tokenizer, 32).save_pretrained(folder)
    return folder


def randomise(model: Model, seed: int = 0) -> Model:
    """Draws every weight, norms and biases too, so that none is 0 or 1 by chance; for evaluation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def batch(seed: int = 0) -> dict[str, Tensor]:
    """Ids, mask and segments, (3, 12) each, with sequences of 12, 7 and 1 tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCABULARY, (len(LENGTHS), TOKENS), generator=generator)
    segments = torch.randint(2, ids.shape, generator=generator)
    mask = (torch.arange(TOKENS) < torch.tensor(LENGTHS)[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def real(values: Tensor) -> Tensor:
    """Drops the rows of padding: (3, 12, ...) -> (20, ...)."""
    return values[batch()["attention_mask"].bool()]


def without_the_package(auto: str, folder: Path, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """What a fresh process that cannot import the package computes with an exported folder."""
    torch.save(inputs, folder.parent / "inputs.pt")
    outputs = folder.parent / "outputs.pt"
    subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE, auto, folder, folder.parent / "inputs.pt", outputs],
        check=True,
        capture_output=True,
        env={**os.environ, "HF_MODULES_CACHE": str(folder.parent / "modules"), "HF_HUB_OFFLINE": "1"},
    )
    return torch.load(outputs)
