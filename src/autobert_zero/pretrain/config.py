"""The config of a pre-training: all settings with their defaults and bounds."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from autobert_zero.bounds import MAX_VOCABULARY
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.settings import COMPUTING, RunConfig, Section, Source
from autobert_zero.shared_config import (
    COMPARED_BY_TEXT,
    Compile,
    CorpusConfig,
    DistilConfig,
    ModelConfig,
    Precision,
)
from autobert_zero.space import Backbone


class PretrainDataConfig(CorpusConfig):
    """The text of a pre-training, and how it becomes batches."""

    vocab_size: int = Field(8192, ge=64, le=MAX_VOCABULARY)
    """Size of the trained vocabulary."""
    streaming: bool = False
    """Read the corpus while training, in one pass after the other, instead of preparing all of it first."""
    whole_words: bool = False
    """Mask all pieces of a word or none."""
    next_sentence: bool = False
    """BERT's second objective: does the second segment follow the first?"""
    isolated: bool = False
    """Keep the documents (lines or records) of a packed sequence from seeing each other."""


class PhaseConfig(Section):
    """A stretch of the training with sequences of one length."""

    steps: int = Field(ge=1)
    """Number of updates."""
    length: int = Field(128, ge=8)
    """Tokens in a sequence."""
    batch_size: int = Field(16, ge=1)
    """Sequences in a batch, over all processes."""


class PretrainModelConfig(ModelConfig):
    """Sizes and trunk of the model; a model that the training starts from gives its own."""

    vocab_size: int = Field(0, ge=0, le=MAX_VOCABULARY)
    """Rows of the token embedding; 0: as many as the tokenizer has tokens."""
    max_positions: int = Field(0, ge=0)
    """Learned positions; 0: as many as the longest phase has tokens."""


class RecipeConfig(Section):
    """The optimiser and its schedule."""

    learning_rate: float = Field(3e-3, gt=0, lt=1)
    """Peak learning rate, reached after the warm-up; it then falls linearly to 0 over all phases."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of all steps in which the rate rises."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's, on matrices only."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    accumulation: Annotated[int, COMPUTING] = Field(1, ge=1)
    """Micro-batches that each process computes one after the other before each update."""
    gradient_checkpointing: Annotated[bool, COMPUTING] = False
    """Keep the inputs of layers only and compute the rest again: less memory, a third more operations."""
    compile: Annotated[Compile, COMPUTING] = "off"
    """`default` uses torch.compile, `capture` replays steps from a CUDA graph, `reduce-overhead` does both,
    `off` neither."""


class ReportConfig(Section):
    """Intervals of logs, evaluations and checkpoints, in steps."""

    log_every: int = Field(50, ge=1)
    """Steps between two lines of metrics.jsonl and TensorBoard."""
    evaluate_every: int = Field(1000, ge=1)
    """Steps between two evaluations on validation text."""
    checkpoint_every: int = Field(1000, ge=1)
    """Steps between two checkpoints, from which --resume continues."""
    evaluated_sequences: int = Field(2048, ge=1)
    """Maximum sequences of held-out text that an evaluation takes."""


class PretrainConfig(RunConfig):
    """A whole pre-training. The model is a function of this config."""

    RENAMED: ClassVar = {"text": "data"}

    seed: int = Field(0, ge=0, lt=2**30)
    """Random seed."""
    device: Annotated[str, COMPUTING] = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
    precision: Annotated[Precision, COMPUTING] = "auto"
    """Number format: `auto` (the fast one of the device), `fp32`, `tf32`, `bf16` or `fp16`."""
    backbone: tuple[str, ...] = Field(min_length=1)
    """One string per layer."""
    start: Source | None = None
    """What the training starts from: the run folder of a search, for its shared weights, or a model (a folder
    or a name on the Hub: ours, a BERT or a ModernBERT); None: new weights."""
    distil: DistilConfig | None = None
    """Learn from a teacher instead of masked tokens; None: masked tokens."""
    data: PretrainDataConfig = PretrainDataConfig()
    model: PretrainModelConfig = PretrainModelConfig()
    phases: tuple[PhaseConfig, ...] = Field((PhaseConfig(steps=3000),), min_length=1)
    """Stretches of the training, each with its `steps`, `length` and `batch_size`."""
    recipe: RecipeConfig = RecipeConfig()
    report: Annotated[ReportConfig, COMPUTING] = ReportConfig()

    @field_validator("backbone")
    @classmethod
    def _parses(cls, layers: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(Backbone.from_list(list(layers)).to_list())

    @model_validator(mode="after")
    def _fits(self) -> "PretrainConfig":
        if self.data.isolated and self.data.next_sentence:
            raise ValueError("data.isolated and data.next_sentence exclude each other: pairs see each other")
        if self.start is not None and self.data.tokenizer is not None:
            raise ValueError("start brings its tokenizer: leave data.tokenizer out")
        if self.distil is not None and self.data.tokenizer is not None:
            raise ValueError("the teacher brings its tokenizer: leave data.tokenizer out")
        if self.distil is not None and self.data.next_sentence:
            raise ValueError("data.next_sentence is of no use to a distillation: leave it out")
        positions = self.model.max_positions
        if positions and self.model.positions == "learned" and self.positions > positions:
            raise ValueError(
                f"a phase has sequences of {self.positions} tokens, the model {positions} learned positions; "
                "choose shorter sequences"
            )
        return self

    @property
    def steps(self) -> int:
        """Updates in all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def tokens(self) -> int:
        """Tokens in all phases."""
        return sum(phase.steps * phase.batch_size * phase.length for phase in self.phases)

    @property
    def positions(self) -> int:
        """Tokens in the longest sequence."""
        return max(phase.length for phase in self.phases)

    @property
    def steps_differ(self) -> str | None:
        """Why steps cannot be captured, since they differ too much; None if they can."""
        reasons = {
            COMPARED_BY_TEXT: self.distil is not None,
            "isolated documents change the shapes of batches": self.data.isolated,
            "whole words change the number of masked tokens": self.data.whole_words,
            "recipe.gradient_checkpointing computes layers again": self.recipe.gradient_checkpointing,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def sizes(self, vocabulary: int) -> EncoderConfig:
        """Sizes and trunk of the model.

        Args:
            vocabulary: Number of tokens of the tokenizer.

        Raises:
            UserError: The model has fewer token embeddings.
        """
        rows = self.model.vocab_size or vocabulary
        if rows < vocabulary:
            raise UserError(
                f"model.vocab_size is {rows}, but the tokenizer has {vocabulary} tokens; set it to 0"
            )
        return self.model.encoder_config(rows, self.model.max_positions or self.positions)

    def layers(self) -> Backbone:
        """The parsed backbone."""
        return Backbone.from_list(list(self.backbone))
