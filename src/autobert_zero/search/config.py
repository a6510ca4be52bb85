"""The config of a search: every setting, its default and its bounds."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from autobert_zero.bounds import MAX_LAYERS
from autobert_zero.errors import UserError
from autobert_zero.run_folder import SEARCH, unreadable_file_error
from autobert_zero.search.training_config import FinalConfig, ProxyConfig
from autobert_zero.settings import COMPUTING, RunConfig, Section, read_yaml, saved_config
from autobert_zero.shared_config import (
    Compile,
    CorpusConfig,
    DistilConfig,
    ModelConfig,
    Precision,
)
from autobert_zero.space import SETS, Space, check_head_dim, choose_primitives
from autobert_zero.zoo import known_backbones

SEEDS = 2**32
"""Number of seeds of searches; trainings that need another seed than their run add it."""


class SearchDataConfig(CorpusConfig):
    """The text of a search."""

    length: int = Field(128, ge=8)
    """Tokens in a sequence; 128 in the paper's search phase."""


class SearchModelConfig(ModelConfig):
    """Sizes and trunk that all candidates share."""

    layers: int = Field(4, ge=1, le=MAX_LAYERS)
    """Depth L of the backbone."""


class SpaceConfig(Section):
    """Bounds of the search space."""

    min_layers: int = Field(0, ge=0)
    """Minimum depth of a backbone; `model.layers` is the maximum. 0: all have the maximum depth."""
    max_ops: int = Field(12, ge=1, le=64)
    """Maximum number of operations in one attention."""
    attention_share: float = Field(0.5, ge=0, le=1)
    """Probability that a sampled layer is an attention."""
    primitives: str | tuple[str, ...] = "paper"
    """Operations that attentions are made of: `paper`, `modern` (all operations), or a list of names."""

    narrow: bool = False
    """In a search from a model with limits, choose narrower feed-forward blocks if students with more layers
    are then closer to the model; `model.feed_forward` is the maximum."""

    @field_validator("primitives", mode="before")
    @classmethod
    def _names_or_a_set(cls, value: object) -> object:
        listed = isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
        if value is not None and not isinstance(value, str) and not listed:
            raise ValueError(f"write paper, modern, or a list of primitives, not {value!r}")
        return "" if value is None else value

    @field_validator("primitives")
    @classmethod
    def _primitives_exist(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        chosen = choose_primitives(value)
        return next((name for name, names in SETS.items() if names == chosen), chosen)


class StrategyConfig(Section):
    """The strategy that proposes candidates."""

    name: str = "op-nas"
    """`op-nas`, `op-nas-paper`, `random`, `regularised-evolution`, `evolution`, `reinforce`, `tpe` or
    `pareto`."""
    known: bool = False
    """Start with the known backbones of the space (its opponents, and each known attention in all layers),
    and let mutations insert known attentions anywhere."""
    population: int = Field(12, ge=1)
    """Number of backbones before evolution starts (M), random except for known ones and the user's; also the
    size of populations of a fixed size."""
    parents: int = Field(4, ge=1)
    """Number of best candidates that are the parents of a round (K)."""
    children: int = Field(1, ge=1)
    """Number of children of each parent."""
    alpha: float = Field(0.5, ge=0)
    """Weight of exploration in the operation priority, in units of standardised scores."""
    tournament: int = Field(5, ge=1)
    """Number of trials from which `regularised-evolution` chooses the best as a parent."""
    objectives: tuple[Literal["score", "parameters", "flops", "latency"], ...] = Field(
        ("score", "parameters"), min_length=1
    )
    """Objectives of `pareto`: the score is maximised, the costs are minimised."""


class LimitsConfig(Section):
    """Limits of candidates; a backbone over a limit is drawn again, not trained. None: no limit."""

    max_params: int | None = Field(None, ge=1)
    """Maximum number of weights of the masked language model."""
    max_flops: float | None = Field(None, gt=0)
    """Maximum operations of the layers' forward pass over one sequence of `data.length` tokens."""
    max_latency_ms: float | None = Field(None, gt=0)
    """Maximum milliseconds of the layers' forward pass, measured on the run's device, without embeddings and
    head: the sum over layers that are measured one by one."""
    min_speedup: float | None = Field(None, gt=0)
    """In a search from a model, the minimum speed-up of a candidate's layers over the model's, measured in
    the same way."""
    latency_batch: int | None = Field(None, ge=1)
    """Number of sequences in the batch that latency is measured with; None: 64 on a GPU, where a single
    sequence takes as long, and 1 on a CPU."""
    latency_length: int = Field(128, ge=1)
    """Tokens in each sequence that latency is measured with."""
    latency_precision: Precision | None = None
    """Number format that latency is measured in; None: that of the run."""


class PrefilterConfig(Section):
    """A zero-cost proxy that chooses among several draws of each proposal, without training."""

    proxy: str | None = None
    """Name of the proxy (`parameters`, `synflow`, `w_pca`, ...); None: off."""
    draws: int = Field(4, ge=1)
    """Number of draws of each proposal; the one with the highest value is evaluated."""


def _storage(url: str, info: ValidationInfo) -> str:
    if not info.context:
        return url
    relative = re.fullmatch(r"((?:sqlite(?:\+\w+)?|journal):///)(?!/|:memory:)(.+)", url)
    return f"{relative[1]}{Path(relative[2]).absolute()}" if relative else url


class SearchConfig(RunConfig):
    """The config of a search, which is a function of it."""

    LEGACY_DEFAULTS: ClassVar = {
        "proxy": {"calibration": 0, "train_again": 0},
        "limits": {"latency_batch": 1},
    }

    seed: int = Field(0, ge=0, lt=SEEDS)
    """Random seed."""
    device: Annotated[str, COMPUTING] = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
    gpu_share: Annotated[float, COMPUTING] = Field(1.0, gt=0, le=1)
    """Share of a GPU that one training takes: 0.25 puts four on each card, or four Ray tasks. Candidates are
    trained at once only with `proxy.together`."""
    precision: Annotated[Precision, COMPUTING] = "auto"
    """Number format: `auto` (the fast one of the device), `fp32`, `tf32`, `bf16` or `fp16`."""
    compile: Annotated[Compile, COMPUTING] = "off"
    """`capture` replays steps from a CUDA graph, `default` compiles the models of the comparison with
    torch.compile (candidates train for less time than that takes), `reduce-overhead` does both, `off`
    neither."""
    storage: Annotated[Annotated[str, Field(min_length=1), AfterValidator(_storage)] | None, COMPUTING] = None
    """Optuna storage URL of the history, for a team: a database server, `redis://`, or `journal:///file` on
    a shared disk; None: study.db in the run folder."""
    study: Annotated[str, COMPUTING] = Field("autobert-zero", min_length=1)
    """Name of the study in the storage."""
    data: SearchDataConfig = SearchDataConfig()
    model: SearchModelConfig = SearchModelConfig()
    space: SpaceConfig = SpaceConfig()
    strategy: StrategyConfig = StrategyConfig()
    limits: LimitsConfig = LimitsConfig()
    prefilter: PrefilterConfig = PrefilterConfig()
    proxy: ProxyConfig = ProxyConfig()
    final: FinalConfig = FinalConfig()
    distil: DistilConfig | None = None
    """Search from a model: candidates start from the weights of a teacher and learn from it. None: they learn
    from masked tokens."""

    @model_validator(mode="after")
    def _short_divides_length(self) -> "SearchConfig":
        if self.final.short_share and self.data.length % self.final.short_length:
            raise ValueError(
                f"final.short_length {self.final.short_length} does not divide data.length "
                f"{self.data.length}; choose another, or final.short_share 0"
            )
        return self

    @model_validator(mode="after")
    def _space_is_usable(self) -> "SearchConfig":
        # Also where no attention is sampled: opponents are built of the space's primitives.
        check_head_dim(self.bounds.primitives, self.model.width, self.model.heads)
        return self

    @model_validator(mode="after")
    def _starts_from_a_model(self) -> "SearchConfig":
        if self.distil is None:
            if self.limits.min_speedup is not None:
                raise ValueError("limits.min_speedup is relative to a model: search from one with --start")
            return self
        if self.proxy.sharing != "none":
            raise ValueError(
                "candidates of a search from a model start from the model's weights: set proxy.sharing=none"
            )
        if self.proxy.score != "loss":
            raise ValueError("a search from a model scores by the distillation loss: set proxy.score=loss")
        if self.data.tokenizer is not None:
            raise ValueError("the model brings its tokenizer: leave data.tokenizer out")
        return self

    @property
    def measures_latency(self) -> bool:
        """Whether a limit, an objective or the comparison with a model is about latency."""
        weighed = self.strategy.name == "pareto" and "latency" in self.strategy.objectives
        return weighed or self.limits.max_latency_ms is not None or self.distil is not None

    @property
    def bounds(self) -> Space:
        """The space that is searched, with its known backbones if the search starts with them."""
        primitives = choose_primitives(self.space.primitives)
        space = Space(
            self.model.layers,
            self.space.max_ops,
            self.space.attention_share,
            primitives,
            min_layers=self.space.min_layers,
        )
        # Known students of a model depend on the model, see `search_runs.start_model`.
        if not self.strategy.known or self.distil is not None:
            return space
        return replace(space, known=tuple(known_backbones(space).items()))


def read_search_config(run: Path) -> SearchConfig:
    """Reads the config of a search; settings that its version did not have are off or at defaults.

    Raises:
        UserError: There is no config in the folder, or it cannot be read.
    """
    path = run / SEARCH.marker
    if not path.exists():
        raise UserError(f"{run} holds no search (no {path.name})")
    try:
        return saved_config(SearchConfig, read_yaml(path))
    except UserError as error:
        raise unreadable_file_error(path, error) from None
