"""Makes configurations from zoo entries and converts trained models."""

import re
from typing import Any

import torch

from autobert_zero import zoo
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.language_models import AutoBertZeroForMaskedLM, AutoBertZeroForPreTraining
from autobert_zero.nn import MaskedLM, PreTraining


def from_zoo(name: str, **changes: Any) -> AutoBertZeroConfig:
    """The configuration of a known backbone; a model built from it has new weights.

    Args:
        name: One of `autobert_zero.zoo.ZOO`.
        changes: Settings that replace the entry's, such as `vocab_size`.

    Raises:
        UserError: There is no such entry.
    """
    entry = zoo.find(name)
    dropout = {"hidden_dropout_prob": AutoBertZeroConfig.hidden_dropout_prob}
    return AutoBertZeroConfig.from_encoder_config(entry.backbone, entry.sizes, **dropout | changes)


def from_masked_lm(model: MaskedLM, **changes: Any) -> AutoBertZeroForMaskedLM | AutoBertZeroForPreTraining:
    """Converts a plain `MaskedLM` or `PreTraining` to our Hugging Face class, with copies of its weights.

    Args:
        model: The trained model.
        changes: Settings that do not follow from the model's sizes, such as `pad_token_id`.
    """
    encoder = model.encoder
    config = AutoBertZeroConfig.from_encoder_config(encoder.backbone, encoder.config, **changes)
    state = model.state_dict()
    # The Hugging Face class has a separate decoder, which shares these tensors.
    state |= {"decoder.weight": state["encoder.embeddings.token.weight"], "decoder.bias": state["bias"]}
    state = {re.sub(r"^pooler\.", "encoder.pooler.", name): tensor for name, tensor in state.items()}
    kind = AutoBertZeroForPreTraining if isinstance(model, PreTraining) else AutoBertZeroForMaskedLM
    ours = kind(config)
    ours.to(model.bias.dtype).load_state_dict(state)
    return ours.eval()


def to_masked_lm(model: AutoBertZeroForMaskedLM | AutoBertZeroForPreTraining) -> MaskedLM:
    """Converts to the plain model that predicts the same tokens; it shares the weights.

    Args:
        model: A model whose decoder shares the token embedding, as the plain model's does.
    """
    with torch.device("meta"):
        plain = MaskedLM(model.config.parse_backbone(), model.config.encoder_config())
    state = model.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()}, assign=True)
    return plain.train(model.training)
