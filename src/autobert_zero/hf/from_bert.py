"""Loads BERT checkpoints of `transformers` into the BERT backbone, with the same outputs."""

import os
from collections.abc import Iterator

import torch
import transformers
from torch import Tensor
from transformers import BertConfig, BertPreTrainedModel

from autobert_zero.errors import UserError
from autobert_zero.hf.auto import MODELS
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.foreign import load_whole, read_config, rename_tensor
from autobert_zero.hf.modeling import AutoBertZeroModel
from autobert_zero.hf.pretrained import AutoBertZeroPreTrainedModel
from autobert_zero.zoo import bert

_BY_BERT = {model.__name__.replace("AutoBertZero", "Bert"): model for model in MODELS.values()}

_RENAMED = {
    r"^bert\.": "encoder.",
    r"embeddings\.word_embeddings\.": "embeddings.token.",
    r"embeddings\.position_embeddings\.": "embeddings.position.",
    r"embeddings\.token_type_embeddings\.": "embeddings.segment.",
    r"embeddings\.LayerNorm\.": "embeddings.norm.",
    r"encoder\.layer\.": "layers.",
    r"attention\.self\.(query|key|value)\.": r"attention.projection.\1.",
    r"attention\.output\.dense\.": "attention.output.",
    r"attention\.output\.LayerNorm\.": "mixing_norm.",
    r"intermediate\.dense\.": "feed_forward.up.",
    r"(layers\.\d+)\.output\.dense\.": r"\1.feed_forward.down.",
    r"(layers\.\d+)\.output\.LayerNorm\.": r"\1.output_norm.",
    r"^cls\.predictions\.transform\.dense\.": "transform.",
    r"^cls\.predictions\.transform\.LayerNorm\.": "norm.",
    r"^cls\.(predictions\.)?": "",
}
"""Substitutions that turn BERT's names into ours, in order."""

_STACKED = ("query", "key", "value")
"""Projections that our layers stack into one matrix, in this order."""

_FIXED = {
    "hidden_act": "gelu",
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}
"""Settings of the BERT backbone; a checkpoint with other values cannot be loaded."""


def from_bert(
    source: BertPreTrainedModel | str | os.PathLike[str],
    model_class: type[AutoBertZeroPreTrainedModel] | None = None,
) -> AutoBertZeroPreTrainedModel:
    """Converts a BERT to our model that computes the same.

    Training differs in one respect: there is no dropout on the attention maps.

    Args:
        source: A BERT of `transformers`, or its folder or name on the Hub (safetensors).
        model_class: Class to load a checkpoint as; None means the class it was saved from.

    Returns:
        Our class with the same head, in evaluation mode, with copies of the weights.

    Raises:
        UserError: It is not a BERT, or computes something that the BERT backbone does not.
    """
    bert = source if isinstance(source, torch.nn.Module) else _load_bert(str(source), model_class)
    ours = _BY_BERT.get(type(bert).__name__)
    if ours is None:
        raise UserError(
            f"{type(bert).__name__} has no counterpart; only {', '.join(_BY_BERT)} can be converted"
        )
    if model_class not in (None, ours):
        raise UserError(f"a {type(bert).__name__} is loaded as {ours.__name__}, not {model_class.__name__}")
    config = bert_config(bert.config)
    if ours is AutoBertZeroModel:
        model = AutoBertZeroModel(config, add_pooling_layer=bert.pooler is not None)
    else:
        model = ours(config)
    model.to(bert.dtype).load_state_dict(dict(_renamed(bert.state_dict())))
    return model.eval()


def _load_bert(source: str, model_class: type[AutoBertZeroPreTrainedModel] | None) -> BertPreTrainedModel:
    if model_class is None:
        architectures = read_config(source).architectures or ["BertModel"]
        name = architectures[0]
    else:
        name = model_class.__name__.replace("AutoBertZero", "Bert")
    if name not in _BY_BERT:
        raise UserError(f"{source} holds a {name}; only {', '.join(_BY_BERT)} can be loaded")
    bert: BertPreTrainedModel = load_whole(getattr(transformers, name), source)
    return bert


def bert_config(config: BertConfig) -> AutoBertZeroConfig:
    """Converts the config of a BERT to that of our model that computes the same.

    Raises:
        UserError: The BERT computes something that the BERT backbone does not.
    """
    for name, value in _FIXED.items():
        given = getattr(config, name, value)
        if given != value:
            raise UserError(f"the BERT backbone has {name} {value!r}, this model {given!r}")
    kept = (
        *("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "initializer_range"),
        *("max_position_embeddings", "pad_token_id", "tie_word_embeddings", "id2label", "label2id"),
        *("type_vocab_size", "hidden_dropout_prob", "classifier_dropout", "layer_norm_eps", "problem_type"),
    )
    return AutoBertZeroConfig(
        backbone=bert(config.num_hidden_layers),
        **{name: getattr(config, name) for name in kept},
    )


def _renamed(state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yields the parameters under our names, with stacked projections."""
    stacks: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        name = rename_tensor(name, _RENAMED)
        before, projection, after = name.partition(".projection.")
        if projection:
            part, kind = after.split(".")
            stacks.setdefault(f"{before}{projection}{kind}", {})[part] = tensor
        else:
            yield name, tensor
    for name, parts in stacks.items():
        yield name, torch.cat([parts[part] for part in _STACKED])
