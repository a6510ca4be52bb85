"""Sections that the configs of searches and of pre-trainings share."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from autobert_zero.bounds import MAX_VOCABULARY
from autobert_zero.encoder_config import ROTARY_BASE, EncoderConfig, FeedForwardKind, Norm, Positions
from autobert_zero.settings import COMPUTING, Section, Source
from autobert_zero.sources import EMBEDDED

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
"""Number formats of the forward pass; weights and updates are fp32. `auto`: bf16 where the hardware
multiplies it, fp16 (with a scaled loss) on a CUDA card without bf16, else fp32. `tf32`: fp32 whose products
are rounded to TF32, for CUDA cards from Ampere on."""


COMPARED_BY_TEXT = "a teacher is compared with text by text, so the shapes of batches change"
"""Why steps with a teacher cannot be captured."""

_FROM_BOOLEAN = {True: "default", False: "off"}  # what was a switch in earlier configs

Compile = Annotated[
    Literal["off", "default", "reduce-overhead", "capture"],
    BeforeValidator(lambda mode: _FROM_BOOLEAN[mode] if isinstance(mode, bool) else mode),
]
"""How the steps of a training are compiled. `capture`: a step is recorded as a CUDA graph and
replayed with one launch, which takes milliseconds. `default`: `torch.compile` compiles the model, which takes
tens of seconds. `reduce-overhead`: both."""


def _different_rates(rates: tuple[float, ...]) -> tuple[float, ...]:
    if not all(0 < rate < 1 for rate in rates) or len(set(rates)) < len(rates):
        raise ValueError(f"learning rates must be different numbers between 0 and 1, not {list(rates)}")
    return rates


Rates = Annotated[tuple[float, ...], AfterValidator(_different_rates)]
"""Peak learning rates to try."""


class CorpusConfig(Section):
    """Text and tokenizer, for searches and pre-trainings alike."""

    corpus: Source | tuple[Source, ...] = EMBEDDED
    """`kjv` (embedded), a file, a folder of files, or a dataset on the Hub; or a list of these."""
    text_column: str | None = None
    """Column of records that holds the text; None: guessed if it is unambiguous."""
    document: Literal["line", "paragraph", "file"] = "line"
    """A document in a text file: a line, lines up to a blank one (hard-wrapped text), or the file. A
    record is always one document."""
    tokenizer: Source | None = None
    """A tokenizer.json, a folder with one, or a name on the Hub; None: one is trained on the corpus."""
    vocab_size: int = Field(4096, ge=64, le=MAX_VOCABULARY)
    """Size of the trained vocabulary."""
    tokenizer_kind: Literal["auto", "wordpiece", "bpe", "unigram", "character"] = "auto"
    """Kind of the trained tokenizer; `bpe` and `unigram` are of bytes. `auto` looks at the text: WordPiece
    where words stand between spaces and the alphabet fits, characters where there are no words and few
    symbols, else BPE."""
    cased: bool | None = None
    """Keep upper and lower case apart; None: WordPiece folds case, as BERT's uncased does, others keep it."""
    strip_accents: bool = False
    """Drop the accents of Latin, Greek and Cyrillic letters; signs of other scripts stay."""

    @field_validator("corpus", mode="before")
    @classmethod
    def _names_of_corpora(cls, value: Any) -> Any:
        if isinstance(value, str):
            return value
        if (
            not isinstance(value, list | tuple)
            or not value
            or not all(isinstance(name, str) for name in value)
        ):
            raise ValueError("input should be a valid string, or a list of strings")
        return value[0] if len(value) == 1 else tuple(value)

    @model_validator(mode="after")
    def _trained_or_named(self) -> "CorpusConfig":
        if self.tokenizer is not None:
            names = ("tokenizer_kind", "cased", "strip_accents")
            idle = [name for name in names if getattr(self, name) != type(self).model_fields[name].default]
            if idle:
                raise ValueError(
                    f"{', '.join(idle)} can only be set for a tokenizer that is trained: leave tokenizer out"
                )
        return self


class ModelConfig(Section):
    """Sizes and trunk of a model, whatever its backbone."""

    width: int = Field(64, ge=1)
    """Hidden size d."""
    heads: int = Field(4, ge=1)
    """Heads H of attentions and convolutions; divides the width."""
    feed_forward: int = Field(0, ge=0)
    """Inner width of the feed-forward block; 0 means 4 d, or two thirds of that with `geglu`, which then has
    the same number of weights."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Off by default: short pre-training does not overfit."""
    norm: Norm = "post"
    """Layer norms after each residual sum (`post`, BERT), or before each sub-block (`pre`)."""
    feed_forward_kind: FeedForwardKind = "gelu"
    """`gelu` (BERT), or the gated `geglu`, of the same number of weights unless `feed_forward` is set."""
    positions: Positions = "learned"
    """A table of learned positions (BERT), or `none`: for backbones that know the order by themselves."""
    biases: bool = True
    """Whether linear layers and layer norms have biases."""
    rotary_base: float = Field(ROTARY_BASE, gt=1)
    """Base of the angles of `rotary`; larger ones suit longer texts."""
    norm_epsilon: float = Field(1e-12, gt=0)
    """Epsilon of the layer norms; the default is BERT's."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        return self

    def encoder_config(self, vocab_size: int, max_positions: int) -> EncoderConfig:
        """The sizes of an encoder for a vocabulary and a longest sequence."""
        return EncoderConfig(vocab_size=vocab_size, max_positions=max_positions, **self._shared())

    def _shared(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ModelConfig.model_fields}


TEXT_LOSSES = ("embedding", "hidden", "relations")
"""Losses of a distillation that compare texts."""
TOKEN_LOSSES = ("logits", "masked")
"""Losses of masked tokens, which train the masked-language-model head."""
LOSSES = (*TEXT_LOSSES, *TOKEN_LOSSES)


class DistilConfig(Section):
    """Losses of learning from a teacher: the weight of each; 0 leaves it out."""

    teacher: Source
    """A folder or a name on the Hub: ours, a BERT or a ModernBERT."""
    embedding: float = Field(1.0, ge=0)
    """Weight of the loss of whole texts: 1 - cosine and squared error of the mean states."""
    hidden: float = Field(0.0, ge=0)
    """Weight of the loss of states after each layer, compared with teacher layers evenly over the depth."""
    relations: float = Field(0.0, ge=0)
    """Weight of the loss of relations between the tokens of a text, after the last layer."""
    logits: float = Field(0.0, ge=0)
    """Weight of the loss of the teacher's predictions of masked tokens."""
    masked: float = Field(0.0, ge=0)
    """Weight of the loss of masked tokens themselves, as in pre-training."""
    relation_heads: int = Field(4, ge=1)
    """Number of parts of a state whose relations are compared; divides both widths."""
    temperature: float = Field(1.0, gt=0)
    """Temperature of the predictions that are compared."""
    kept_gigabytes: Annotated[float, COMPUTING] = Field(4.0, ge=0)
    """Maximum size of all embeddings of teachers in the cache."""

    @model_validator(mode="after")
    def _learns(self) -> "DistilConfig":
        if not any(self.weights.values()):
            raise ValueError(f"all losses have weight 0; set one of {', '.join(self.weights)}")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss."""
        return {name: getattr(self, name) for name in LOSSES}

    @property
    def trains_head(self) -> bool:
        """Whether the masked-language-model head is trained."""
        return any(self.weights[name] for name in TOKEN_LOSSES)
