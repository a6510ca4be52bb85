"""Loads ModernBERT checkpoints of `transformers` that have only global attention into the rotary backbone."""

import os

import torch
from transformers import ModernBertConfig, ModernBertForMaskedLM, ModernBertModel, ModernBertPreTrainedModel

from autobert_zero.errors import UserError
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.foreign import load_whole, read_config, rename_tensor
from autobert_zero.hf.language_models import AutoBertZeroForMaskedLM
from autobert_zero.hf.modeling import AutoBertZeroModel
from autobert_zero.hf.pretrained import AutoBertZeroPreTrainedModel
from autobert_zero.zoo import rotary
from autobert_zero.zoo.trunks import MODERN_TRUNK

_RENAMED = {
    r"^model\.": "encoder.",
    r"embeddings\.tok_embeddings\.": "embeddings.token.",
    r"\.attn_norm\.": ".mixing_norm.",
    r"\.attn\.Wqkv\.": ".attention.projection.",
    r"\.attn\.Wo\.": ".attention.output.",
    r"\.mlp_norm\.": ".output_norm.",
    r"\.mlp\.Wi\.": ".feed_forward.up.",
    r"\.mlp\.Wo\.": ".feed_forward.down.",
    r"^head\.dense\.": "transform.",
    r"^head\.norm\.": "norm.",
}
"""Substitutions that turn ModernBERT's names into ours, in order. Both stack Q, K and V in this order."""

_FIXED = {"hidden_activation": "gelu", "classifier_activation": "gelu", "decoder_bias": True}
"""Settings of our trunk; a checkpoint with other values cannot be loaded."""

_BIASES = ("attention_bias", "mlp_bias", "norm_bias")
"""Settings that must agree, since our trunk has one setting for all biases."""


def from_modernbert(
    source: ModernBertPreTrainedModel | str | os.PathLike[str],
) -> AutoBertZeroModel | AutoBertZeroForMaskedLM:
    """Converts a ModernBERT without local attention to our model that computes the same.

    `transformers` before 5.17 cannot represent the config of such a model.

    Args:
        source: A `ModernBertModel` or `ModernBertForMaskedLM`, or its folder or name on the Hub
            (safetensors). ModernBERT's other heads have a projection that ours lack.

    Returns:
        Our class with the same head, in evaluation mode, with copies of the weights. The segment embeddings
        are 0, since ModernBERT has none.

    Raises:
        UserError: It is not a ModernBERT, has local attention, or computes something else that our trunk
            does not.
    """
    original = source if isinstance(source, ModernBertPreTrainedModel) else _load_modernbert(str(source))
    kinds: dict[str, type[AutoBertZeroPreTrainedModel]] = {
        "ModernBertModel": AutoBertZeroModel,
        "ModernBertForMaskedLM": AutoBertZeroForMaskedLM,
    }
    kind = kinds.get(type(original).__name__)
    if kind is None:
        raise UserError(
            f"{type(original).__name__} has no counterpart; only {', '.join(kinds)} can be converted"
        )
    config = modernbert_config(original.config, kind is AutoBertZeroForMaskedLM)
    model = AutoBertZeroModel(config, False) if kind is AutoBertZeroModel else AutoBertZeroForMaskedLM(config)
    state = {rename_tensor(name, _RENAMED): tensor for name, tensor in original.state_dict().items()}
    segments = f"{'' if kind is AutoBertZeroModel else 'encoder.'}embeddings.segment.weight"
    state[segments] = torch.zeros(config.type_vocab_size, config.hidden_size)
    if kind is AutoBertZeroForMaskedLM:
        state["bias"] = state["decoder.bias"]
    model.to(original.dtype).load_state_dict(state)
    return model.eval()


def _load_modernbert(source: str) -> ModernBertPreTrainedModel:
    config = read_config(source)
    if config.model_type != "modernbert":
        raise UserError(f"{source} holds a model of type {config.model_type}, not modernbert")
    name = (config.architectures or ["ModernBertModel"])[0]
    kinds = {kind.__name__: kind for kind in (ModernBertModel, ModernBertForMaskedLM)}
    if name not in kinds:
        raise UserError(f"{source}: {name} has no counterpart; only {', '.join(kinds)} can be converted")
    model: ModernBertPreTrainedModel = load_whole(kinds[name], source)
    return model


def modernbert_config(config: ModernBertConfig, with_head: bool = True) -> AutoBertZeroConfig:
    """Converts the config of a ModernBERT without local attention to that of our equivalent model.

    Args:
        config: The config.
        with_head: Whether the model has the masked-language-model head, whose biases count too.

    Raises:
        UserError: The model has local attention, or computes something else that our trunk does not.
    """
    for name, value in _FIXED.items():
        if getattr(config, name) != value:
            raise UserError(f"our trunk has {name} {value!r}, this ModernBERT {getattr(config, name)!r}")
    local = [number for number, kind in enumerate(config.layer_types, 1) if kind != "full_attention"]
    if local:
        raise UserError(
            f"layers {', '.join(map(str, local))} of this ModernBERT have local attention; only models with "
            "global attention in all layers can be loaded"
        )
    settings = (*_BIASES, *(("classifier_bias",) if with_head else ()))
    biases = {name: getattr(config, name) for name in settings}
    if len(set(biases.values())) > 1:
        given = ", ".join(f"{name} {value}" for name, value in biases.items())
        raise UserError(f"our trunk has all biases or none, this ModernBERT has {given}")
    rope = config.rope_parameters["full_attention"]
    if rope.get("rope_type", "default") != "default":
        raise UserError(f"our rotary positions are not scaled, those of this ModernBERT are: {dict(rope)}")
    kept = (
        *("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "initializer_range"),
        *("max_position_embeddings", "pad_token_id", "tie_word_embeddings", "id2label", "label2id"),
    )
    return AutoBertZeroConfig(
        backbone=rotary(config.num_hidden_layers),
        hidden_dropout_prob=config.mlp_dropout,
        layer_norm_eps=config.norm_eps,
        **(MODERN_TRUNK | {"biases": biases["norm_bias"]}),
        rotary_base=rope["rope_theta"],
        **{name: getattr(config, name) for name in kept},
    )
