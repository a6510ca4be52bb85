"""Shared by the models with heads: their optional outputs, and the width of a head's input."""

from typing import Any, TypedDict

from transformers.modeling_outputs import BaseModelOutputWithPooling

from autobert_zero.hf.modeling import AutoBertZeroModel


class Extras(TypedDict, total=False):
    """Optional outputs of the encoder besides the last hidden states; see `AutoBertZeroModel`."""

    output_attentions: bool | None
    output_hidden_states: bool | None


def extra_outputs(outputs: BaseModelOutputWithPooling) -> dict[str, Any]:
    """The optional outputs of an encoder; None for those that were not requested."""
    return {"hidden_states": outputs.hidden_states, "attentions": outputs.attentions}


def head_width(encoder: AutoBertZeroModel) -> int:
    """Width of a head's input: w for the pooled state, d for the tokens' states."""
    return encoder.config.hidden_size if encoder.pooler is None else encoder.pooler.width
