# mypy: disallow-subclassing-any=False
"""The configuration: a backbone as text, and sizes under Hugging Face's names."""

import os
from typing import Any, Self

from transformers import PreTrainedConfig

from autobert_zero.encoder_config import HF_NAMES, ROTARY_BASE, EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.space import Backbone, SpaceError, check_head_dim

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
"""Settings that are whole numbers."""

_DROPOUTS = ("hidden_dropout_prob", "classifier_dropout")
"""Probabilities in [0, 1); `classifier_dropout` may be None."""

_POSITIVE = ("layer_norm_eps", "initializer_range", "rotary_base")

POOLINGS = ("cls", "mean", "cls+mean")
"""Inputs of a classifier: the first token's state, the mean over all tokens, or both concatenated."""


class AutoBertZeroConfig(PreTrainedConfig):
    """Configuration of an AutoBERT-Zero model. The sizes default to those of BERT-base.

    There is no dropout on attention maps, since most backbones have no such map.

    Attributes:
        backbone: The layers, one string per layer (`conv 9` or a formula). A text with one layer per line or
            a `Backbone` is also accepted; it is stored as a list.
        vocab_size: Number of tokens in the vocabulary.
        hidden_size: Hidden size d.
        num_attention_heads: Number of heads H of attention and convolution layers; must divide d.
        intermediate_size: Inner width of the feed-forward block.
        max_position_embeddings: Maximum number of tokens in a sequence.
        type_vocab_size: Number of segments.
        hidden_dropout_prob: Dropout after the embeddings and after every sub-block.
        classifier_dropout: Dropout before a classifier; None means `hidden_dropout_prob`.
        classifier_pooling: Input of a classifier of sequences or pairs: `cls`, the first token's state
            (BERT); `mean`, the mean of all tokens' states; `cls+mean`, both concatenated. The best choice
            depends on backbone and task; fine-tuning makes it on the validation split.
        layer_norm_eps: Epsilon of the layer norms.
        norm: `post` or `pre`. This and the next four settings describe the trunk, see
            `autobert_zero.nn.EncoderConfig`.
        feed_forward_kind: `gelu` or `geglu`.
        positions: `learned` or `none`; with `none`, `max_position_embeddings` has no effect.
        biases: Whether linear layers and layer norms have biases.
        rotary_base: Base of the angles of `rotary`.
        initializer_range: Standard deviation of new weights.
        pad_token_id: Id of the padding token, for tools that pad.
        tie_word_embeddings: Whether the language model's decoder shares the token embedding.

    Raises:
        UserError: The backbone is missing or invalid, or a setting is out of range.
    """

    model_type = "autobert-zero"

    backbone: list[str] | str | Backbone | None = None
    vocab_size: int = 30522
    hidden_size: int = 768
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    classifier_pooling: str = "cls"
    layer_norm_eps: float = 1e-12
    norm: str = "post"
    feed_forward_kind: str = "gelu"
    positions: str = "learned"
    biases: bool = True
    rotary_base: float = ROTARY_BASE
    initializer_range: float = 0.02
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = True

    # To save, older releases of `transformers` compare with a configuration made without arguments.
    has_no_defaults_at_init = True

    def __post_init__(self, num_hidden_layers: int | None = None, **kwargs: Any) -> None:
        if num_hidden_layers is not None:
            self.num_hidden_layers = num_hidden_layers
        self.check()
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self | tuple[Self, dict[str, Any]]:
        """As in `PreTrainedConfig`; also checks the changes given as keywords."""
        result = super().from_dict(config_dict, **kwargs)
        (result[0] if isinstance(result, tuple) else result).check()
        return result

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As in `PreTrainedConfig`, but refuses a configuration that could not be loaded again."""
        self.check()
        super().save_pretrained(save_directory, *args, **kwargs)

    @property
    def num_hidden_layers(self) -> int:
        """Number of layers in the backbone; setting another number raises a `UserError`."""
        return len(self.parse_backbone().layers)

    @num_hidden_layers.setter
    def num_hidden_layers(self, value: int) -> None:
        if value != self.num_hidden_layers:
            raise UserError(
                f"config: num_hidden_layers is {value}, but the backbone has {self.num_hidden_layers} "
                "layers; leave num_hidden_layers out: it follows from the backbone"
            )

    def check(self) -> None:
        """Checks all settings, since any of them may have been changed after construction.

        Turns the backbone into a list.

        Raises:
            UserError: A setting is out of range or of another type, or the backbone is missing or invalid.
        """
        self.backbone = self.parse_backbone().to_list()
        for name in _DROPOUTS:
            value = getattr(self, name)
            optional = value is None and name == "classifier_dropout"
            if not optional and not (_is_number(value) and 0 <= value < 1):
                raise UserError(f"config: {name} must be a number in [0, 1), not {value!r}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if not (_is_number(value) and value > 0):
                raise UserError(f"config: {name} must be a number above 0, not {value!r}")
        sizes = self.encoder_config()
        try:
            check_head_dim(self.parse_backbone().operations, sizes.width, sizes.heads)
        except SpaceError as error:
            raise UserError(f"config: {error}") from None
        if self.classifier_pooling not in POOLINGS:
            raise UserError(
                f"config: classifier_pooling must be {', '.join(POOLINGS[:-1])} or {POOLINGS[-1]}, not "
                f"{self.classifier_pooling!r}"
            )

    def parse_backbone(self) -> Backbone:
        """Reads the backbone.

        Raises:
            UserError: It is missing or invalid; the message names the layer and the column.
        """
        given = self.backbone
        if isinstance(given, Backbone):
            return given
        if given is None:
            raise UserError(
                "config: backbone is missing: give a list with one string per layer (`conv 9` or a formula), "
                "or use autobert_zero.hf.from_zoo for a known backbone"
            )
        if not isinstance(given, str | list | tuple):
            raise UserError(f"config: backbone must be a list of strings, not {type(given).__name__}")
        try:
            return Backbone.parse(given) if isinstance(given, str) else Backbone.from_list(given)
        except SpaceError as error:
            raise UserError(f"config: backbone: {error}") from None

    def encoder_config(self) -> EncoderConfig:
        """The sizes under the names of `autobert_zero.nn`.

        Raises:
            UserError: A size is out of range.
        """
        for name in _SIZES:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"config: {name} must be a whole number of at least 1, not {value!r}")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"config: hidden_size {self.hidden_size} is not divisible by {self.num_attention_heads} "
                "heads; choose a multiple of num_attention_heads"
            )
        try:
            return EncoderConfig(**{field: getattr(self, name) for name, field in HF_NAMES.items()})
        except (ValueError, TypeError) as error:
            raise UserError(f"config: {error}") from None

    @classmethod
    def from_encoder_config(cls, backbone: Backbone, sizes: EncoderConfig, **changes: Any) -> Self:
        """The configuration of a backbone with sizes and trunk under the names of `autobert_zero.nn`.

        Args:
            backbone: The layers.
            sizes: Sizes and trunk.
            changes: Settings that replace them, under Hugging Face's names.
        """
        named = {name: getattr(sizes, field) for name, field in HF_NAMES.items()}
        named["intermediate_size"] = sizes.inner
        return cls(backbone=backbone.to_list(), **named | changes)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
