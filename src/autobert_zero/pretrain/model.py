"""The model of a pre-training: its initial weights, and the folder of the result."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from autobert_zero.files import follow_umask
from autobert_zero.hf import AutoBertZeroModel, from_masked_lm
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.nn import MaskedLM, PreTraining
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.pretrain.start import open_start


def new_model(config: PretrainConfig, vocabulary: int) -> MaskedLM:
    """A model with new weights, a function of the seed, where it does not start from others.

    Args:
        config: Config of the pre-training.
        vocabulary: Number of token ids.

    Raises:
        UserError: The weights that it starts from are of other sizes, missing or damaged.
    """
    torch.manual_seed(config.seed)
    kind = PreTraining if config.data.next_sentence else MaskedLM
    sizes = config.sizes(vocabulary)
    model = kind(config.layers(), sizes)
    if config.start is not None:
        open_start(config.start).give(model)
    model.encoder.checkpointing = config.recipe.gradient_checkpointing
    return model


def without_start(config: PretrainConfig) -> PretrainConfig:
    """The same config with new weights only."""
    return config.model_copy(update={"start": None})


def save_model(config: PretrainConfig, weights: dict[str, Tensor], tokenizer: Tokenizer, out: Path) -> None:
    """Writes a model and its tokenizer as `save_pretrained` does.

    Args:
        config: Config of the pre-training.
        weights: Trained weights, by the names of the plain model.
        tokenizer: The tokenizer.
        out: Folder to write to.
    """
    vocabulary = len(weights["encoder.embeddings.token.weight"])
    model = new_model(without_start(config), vocabulary)
    model.load_state_dict(weights)
    saved = from_masked_lm(model, pad_token_id=tokenizer.token_to_id("[PAD]"))
    if config.distil is None or config.distil.trains_head:
        saved.save_pretrained(out)
    else:  # a head that was not trained would be taken for one that was
        encoder = AutoBertZeroModel(saved.config, add_pooling_layer=False)
        encoder.load_state_dict(saved.base_model.state_dict())
        encoder.save_pretrained(out)
    wrap_tokenizer(tokenizer, model.encoder.config.length_limit).save_pretrained(out)
    follow_umask(out)
