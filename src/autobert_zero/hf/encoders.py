"""Pre-trained encoders of any kind that we can compute, as a backbone, sizes and weights of ours."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError, first_line
from autobert_zero.files import read_json
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.foreign import find_model, read_config
from autobert_zero.hf.from_bert import bert_config, from_bert
from autobert_zero.hf.from_modernbert import from_modernbert, modernbert_config
from autobert_zero.hf.heads import AutoBertZeroForMaskedLM
from autobert_zero.hf.modeling import AutoBertZeroModel
from autobert_zero.space import Backbone


@dataclass(frozen=True)
class PretrainedEncoder:
    """A pre-trained encoder that is not loaded yet.

    Attributes:
        source: Its folder or its name on the Hub.
        backbone: Its layers.
        sizes: Its sizes and trunk.
        has_head: Whether it has a head that predicts masked tokens.
    """

    source: str
    backbone: Backbone
    sizes: EncoderConfig
    has_head: bool

    def weights(self) -> dict[str, Tensor]:
        """Its weights by the names of `MaskedLM`; those of the head only where it has one.

        Raises:
            UserError: They cannot be read.
        """
        kind = read_config(self.source).model_type
        try:
            model = _KINDS[kind].build(self.source, self.has_head)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"the weights of {self.source} cannot be read: {first_line(error)}") from None
        prefix = "" if self.has_head else "encoder."
        return {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class _Kind:
    """How a type of model becomes ours.

    Attributes:
        convert: From its config to ours.
        build: Makes ours from a model in memory, or from a source with or without a head for masked tokens.
    """

    convert: Callable[[Any], AutoBertZeroConfig]
    build: Callable[[Any, bool], PreTrainedModel]


def _class_with(head: bool) -> Any:
    """Our class with or without a head for masked tokens."""
    return AutoBertZeroForMaskedLM if head else AutoBertZeroModel


def _ours(source: Any, head: bool) -> PreTrainedModel:
    given = isinstance(source, PreTrainedModel)
    model: PreTrainedModel = source if given else _class_with(head).from_pretrained(source)
    return model


_KINDS = {
    AutoBertZeroConfig.model_type: _Kind(lambda config: config, _ours),
    "bert": _Kind(bert_config, lambda source, head: from_bert(source, _class_with(head))),
    "modernbert": _Kind(modernbert_config, lambda source, head: from_modernbert(source)),
}
"""By the `model_type` of `transformers`."""


def open_encoder(source: str) -> PretrainedEncoder:
    """Reads what a model is, without its weights.

    Args:
        source: A folder of `save_pretrained`, an exported one, or a name on the Hub.

    Raises:
        UserError: There is no such model, it has pickled weights only, or it is of a type or has settings
            that our layers do not compute.
    """
    place = find_model(source)
    if (path := Path(place)).is_dir():
        if not any(path.glob("*.safetensors")):
            raise UserError(f"{source} has no weights (no model.safetensors)")
        # Before `transformers`, which may not know the type, reads it.
        _encoder_kind(source, read_json(path / "config.json").get("model_type"))
    config = read_config(place)
    kind = _encoder_kind(source, config.model_type)
    if getattr(config, "is_decoder", False):
        raise UserError(f"{source} is a decoder (is_decoder in its config.json); encoders can be read")
    try:
        ours = kind.convert(config)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    names = config.architectures or []
    head = any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names)
    return PretrainedEncoder(place, ours.parse_backbone(), ours.encoder_config(), head)


def _encoder_kind(source: str, name: object) -> "_Kind":
    kind = _KINDS.get(str(name))
    if kind is None:
        raise UserError(f"{source} is of type {name}; encoders of type {', '.join(_KINDS)} can be read")
    return kind


def as_ours(model: PreTrainedModel) -> AutoBertZeroModel | None:
    """An encoder without a head as our class that computes the same.

    Returns:
        The model itself if it is ours; None for other types, and for settings that our layers do not compute.
    """
    kind = _KINDS.get(model.config.model_type)
    if kind is None:
        return None
    try:
        ours = kind.build(model, False)
    except UserError:
        return None
    return ours if isinstance(ours, AutoBertZeroModel) else None
