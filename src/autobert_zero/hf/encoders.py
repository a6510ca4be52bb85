"""Reads pre-trained encoders of all supported types as a backbone, sizes and weights."""

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
from autobert_zero.hf.language_models import AutoBertZeroForMaskedLM
from autobert_zero.hf.modeling import AutoBertZeroModel
from autobert_zero.space import Backbone


@dataclass(frozen=True)
class PretrainedEncoder:
    """A pre-trained encoder that is not loaded yet.

    Attributes:
        source: Its folder or its name on the Hub.
        backbone: Its layers.
        sizes: Its sizes and trunk.
        has_head: Whether it has a language-model head.
    """

    source: str
    backbone: Backbone
    sizes: EncoderConfig
    has_head: bool

    def weights(self) -> dict[str, Tensor]:
        """Its weights under the names of `MaskedLM`, with those of the head if it has one.

        Raises:
            UserError: They cannot be read.
        """
        kind = read_config(self.source).model_type
        try:
            model = _CONVERTERS[kind].build(self.source, self.has_head)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"the weights of {self.source} cannot be read: {first_line(error)}") from None
        prefix = "" if self.has_head else "encoder."
        return {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class _Converter:
    """Converts one type of model to ours.

    Attributes:
        convert: Converts the config.
        build: Converts a model in memory, or loads one from a source with or without a language-model head.
    """

    convert: Callable[[Any], AutoBertZeroConfig]
    build: Callable[[Any, bool], PreTrainedModel]


def _class_with(head: bool) -> Any:
    """Our class with or without a language-model head."""
    return AutoBertZeroForMaskedLM if head else AutoBertZeroModel


def _load_ours(source: Any, head: bool) -> PreTrainedModel:
    loaded = isinstance(source, PreTrainedModel)
    model: PreTrainedModel = source if loaded else _class_with(head).from_pretrained(source)
    return model


_CONVERTERS = {
    AutoBertZeroConfig.model_type: _Converter(lambda config: config, _load_ours),
    "bert": _Converter(bert_config, lambda source, head: from_bert(source, _class_with(head))),
    "modernbert": _Converter(modernbert_config, lambda source, head: from_modernbert(source)),
}
"""By the `model_type` of `transformers`."""


def open_encoder(source: str) -> PretrainedEncoder:
    """Reads the config of a pre-trained encoder, not its weights.

    Args:
        source: A folder of `save_pretrained`, an exported folder, or a name on the Hub.

    Raises:
        UserError: There is no such model, it has only pickled weights, or our layers do not compute its type
            or its settings.
    """
    place = find_model(source)
    if (path := Path(place)).is_dir():
        if not any(path.glob("*.safetensors")):
            raise UserError(f"{source} has no weights (no model.safetensors)")
        # Checked before `transformers` reads the config, since it may not know the type.
        _find_converter(source, read_json(path / "config.json").get("model_type"))
    config = read_config(place)
    converter = _find_converter(source, config.model_type)
    if getattr(config, "is_decoder", False):
        raise UserError(f"{source} is a decoder (is_decoder in its config.json); only encoders can be read")
    try:
        ours = converter.convert(config)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    names = config.architectures or []
    head = any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names)
    head = head and ours.tie_word_embeddings  # ours predicts with the embeddings
    return PretrainedEncoder(place, ours.parse_backbone(), ours.encoder_config(), head)


def _find_converter(source: str, kind: object) -> _Converter:
    converter = _CONVERTERS.get(str(kind))
    if converter is None:
        supported = ", ".join(_CONVERTERS)
        raise UserError(f"{source} is of type {kind}; only encoders of type {supported} can be read")
    return converter


def convert_encoder(model: PreTrainedModel) -> AutoBertZeroModel | None:
    """Converts an encoder without a head to our class that computes the same.

    Returns:
        The model itself if it is ours; None if our layers do not compute its type or its settings.
    """
    converter = _CONVERTERS.get(model.config.model_type)
    if converter is None:
        return None
    try:
        ours = converter.build(model, False)
    except UserError:
        return None
    return ours if isinstance(ours, AutoBertZeroModel) else None
