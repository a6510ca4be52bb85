"""The config of a search: every setting, its default and its bounds."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from autobert_zero.settings import RunConfig, Section, Source, resolve
from autobert_zero.shared_config import CorpusConfig, DistilConfig, Precision, SizesConfig
from autobert_zero.space import SETS, Space, check_head_dim, choose_primitives
from autobert_zero.zoo import known_backbones


class DataConfig(CorpusConfig):
    """The text of a search."""

    length: int = Field(128, ge=8)
    """Tokens in a sequence; 128 in the paper's search phase."""


class ModelConfig(SizesConfig):
    """Sizes and trunk that all candidates share."""

    layers: int = Field(4, ge=1)
    """Depth L of the backbone."""


class SpaceConfig(Section):
    """Bounds of the search space."""

    min_layers: int = Field(0, ge=0)
    """Least depth of a backbone, `model.layers` is the greatest; 0: all have the same depth."""
    max_ops: int = Field(12, ge=1, le=64)
    """Largest number of operations in one attention."""
    attention_share: float = Field(0.5, ge=0, le=1)
    """Probability that a sampled layer is an attention."""
    primitives: str | tuple[str, ...] = "paper"
    """Operations that attentions are made of: `paper`, `modern` (all that there are), or a list of names."""

    @field_validator("primitives")
    @classmethod
    def _primitives_exist(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        chosen = choose_primitives(value)
        return next((name for name, names in SETS.items() if names == chosen), chosen)


class StrategyConfig(Section):
    """How candidates are proposed."""

    name: str = "op-nas"
    """`op-nas`, `op-nas-paper`, `random`, `regularised-evolution`, `evolution`, `reinforce`, `tpe` or
    `pareto`."""
    known: bool = False
    """Begin with the known backbones of the space (its opponents, and each known attention in all layers),
    and let mutations put known attentions anywhere."""
    population: int = Field(12, ge=1)
    """Backbones before evolution begins (M), random but for the known and the user's; the size of populations
    that have one."""
    parents: int = Field(4, ge=1)
    """Best candidates that are parents of a round (K)."""
    children: int = Field(1, ge=1)
    """Children of each parent."""
    alpha: float = Field(0.5, ge=0)
    """Weight of exploration in the operation priority, in units of standardised scores."""
    tournament: int = Field(5, ge=1)
    """Trials of the population that a parent is the best of, in `regularised-evolution`."""
    objectives: tuple[Literal["score", "parameters", "flops", "latency"], ...] = Field(
        ("score", "parameters"), min_length=1
    )
    """What `pareto` weighs: the score is maximised, the costs are minimised."""


class LimitsConfig(Section):
    """Bounds that no candidate may exceed; what is over one is drawn again, not trained. None: no limit."""

    max_params: int | None = Field(None, ge=1)
    """Maximum number of weights of the masked language model."""
    max_flops: float | None = Field(None, gt=0)
    """Maximum operations of the layers' forward pass over one sequence of `data.length` tokens."""
    max_latency_ms: float | None = Field(None, gt=0)
    """Maximum milliseconds of the layers' forward pass, measured on the run's device, without embeddings and
    head: the sum over layers that are measured one by one."""
    min_speedup: float | None = Field(None, gt=0)
    """In a search from a model, how many times faster than the model's layers those of a candidate are at
    least, measured in the same way."""
    latency_batch: int = Field(1, ge=1)
    """Sequences in the batch that latency is measured with."""
    latency_length: int = Field(128, ge=1)
    """Tokens in each of them."""


class PrefilterConfig(Section):
    """A zero-cost proxy that chooses among several draws of each proposal; costs no training."""

    proxy: str | None = None
    """Its name (`parameters`, `synflow`, `w_pca`, ...); None: off."""
    draws: int = Field(4, ge=1)
    """Draws of each proposal; the one with the highest value is evaluated."""


class ProxyTasksConfig(Section):
    """Fine-tuning as a proxy; used where `proxy.score` is `tasks`."""

    names: tuple[Source, ...] = ("cola", "mrpc", "rte")
    """GLUE tasks, squad, squad_v2, or YAML files of the user."""
    data: Source | None = None
    """Folder with a folder for each task; None: from the Hub."""
    steps: int = Field(100, ge=1)
    """Updates on each task."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a batch."""
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    """Peak learning rate."""


class ProxyPairsConfig(Section):
    """Minimal pairs as a proxy; used where `proxy.score` is `minimal_pairs`."""

    data: Source | None = None
    """A file of minimal pairs, or a folder of such files, as `minimal-pairs` reads them."""
    pairs: int = Field(2000, ge=1)
    """Maximum number of pairs, spread evenly over the paradigms: the same for every candidate."""
    within_word: bool = False
    """Mask the later tokens of a word with each of its tokens."""


class ProxyConfig(Section):
    """How a candidate is evaluated."""

    sharing: Literal["biws", "none"] = "biws"
    """`biws`: candidates train a few steps from shared weights (paper). `none`: from new weights, so that
    `rungs` decide who goes on; scores do not depend on what was trained before."""
    score: Literal["loss", "accuracy", "tasks", "minimal_pairs"] = "loss"
    """The negative MLM loss, the MLM accuracy, the mean over fine-tuned tasks (paper), or the accuracy on
    minimal pairs."""
    candidates: int = Field(26, ge=1)
    """Candidates to score; failed and diverged ones count."""
    warmup_steps: int = Field(240, ge=0)
    """Updates of the shared weights before the first score. Where the search knows backbones, known
    attentions and all kernels are trained equally long in every place; else layers are random."""
    warmup_attention_share: float = Field(0.0, ge=0, le=1)
    """Probability that a random layer of the warm-up is an attention; where the search knows backbones, any
    but 0 lets random attentions have their turn. Convolutions leave the plateau of unigram statistics
    hundreds of steps earlier, and take embeddings and feed-forward blocks with them."""
    calibration: float = Field(0.5, ge=0, le=4)
    """Extra updates before those that count, as a share of `steps`, for a candidate whose shared weights were
    not trained at all; fewer in proportion, none from half of the training of the most trained ones on."""
    train_again: int = Field(16, ge=0)
    """After so many candidates without training, possible parents and what the search was given are trained
    again before they are compared, since the shared weights have moved; 0: they are only scored again."""
    steps: int = Field(40, ge=1)
    """Updates of each candidate."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a batch."""
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    """Peak learning rate."""
    validation_sequences: int = Field(256, ge=1)
    """Held-out sequences that a score is measured on."""
    together: int = Field(1, ge=1)
    """Candidates of a round that train from one state of the shared weights and are merged: what `--workers`
    and `--ray` divide. On a CPU each then trains on one thread, whatever the number of workers."""
    rungs: tuple[float, ...] = ()
    """Shares of the steps after which a candidate is scored and stopped unless it is among the best
    (successive halving), for example 0.25, 0.5."""
    rung_share: float = Field(0.5, gt=0, lt=1)
    """Which share of the recent candidates goes on at a rung."""
    max_seconds: float | None = Field(None, gt=0)
    """A candidate that trains for longer fails. Depends on the machine, so such a run is not repeatable."""
    max_memory_gb: float | None = Field(None, gt=0)
    """A candidate whose training would take more memory, as estimated, fails before it is trained."""
    tasks: ProxyTasksConfig = ProxyTasksConfig()
    minimal_pairs: ProxyPairsConfig = ProxyPairsConfig()

    @model_validator(mode="after")
    def _rungs_rise(self) -> "ProxyConfig":
        if list(self.rungs) != sorted({share for share in self.rungs if 0 < share < 1}):
            raise ValueError(f"rungs are shares of the steps between 0 and 1, rising, not {list(self.rungs)}")
        return self

    @model_validator(mode="after")
    def _pairs_are_named(self) -> "ProxyConfig":
        if self.score == "minimal_pairs" and self.minimal_pairs.data is None:
            raise ValueError("score minimal_pairs needs a file or folder of pairs: set minimal_pairs.data")
        return self


class FinalConfig(Section):
    """The comparison at the end: from scratch, at higher fidelity."""

    finalists: int = Field(4, ge=1)
    """Best candidates that are screened."""
    screening_steps: int = Field(880, ge=1)
    """Updates of each finalist; the best on validation text is the winner."""
    steps: int = Field(880, ge=1)
    """Updates of the winner and of its opponents, with another seed."""
    batch_size: int = Field(16, ge=1)
    """Sequences in a batch."""
    learning_rate: float = Field(3e-3, gt=0, lt=1)
    """Peak learning rate."""
    rates: tuple[float, ...] = ()
    """Peak learning rates that are tried for every model of the comparison, at the screening's length: each
    is trained with its best. Empty: all are trained with `learning_rate`."""
    equal_time: bool = True
    """Whether the opponents are also trained for as long as the winner takes, at their own speeds."""
    short_share: float = Field(0.0, ge=0, le=1)
    """Share of the steps, the first ones, in which sequences are cut into short ones: without them backbones
    of attentions only stay on the plateau of unigram statistics for tens of millions of tokens."""
    short_length: int = Field(16, ge=8)
    """Tokens in each of those; divides `data.length`."""
    workers: int = Field(0, ge=0)
    """Models trained at once, each with its share of the cores; 0: as many as cores, 1 with a GPU."""

    @field_validator("rates")
    @classmethod
    def _rates_are_rates(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < rate < 1 for rate in rates) or len(set(rates)) < len(rates):
            raise ValueError(f"rates are different numbers between 0 and 1, not {list(rates)}")
        return rates


def _storage(url: str, info: ValidationInfo) -> str:
    if not info.context:
        return url
    relative = re.fullmatch(r"((?:sqlite(?:\+\w+)?|journal):///)(?!/|:memory:)(.+)", url)
    return f"{relative[1]}{Path(relative[2]).absolute()}" if relative else url


class SearchConfig(RunConfig):
    """A whole run. A run is a function of this config."""

    seed: int = Field(0, ge=0, lt=2**32)
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, `mps`."""
    precision: Precision = "auto"
    """Number format: `auto` (the fast one of the device), `fp32`, `tf32`, `bf16` or `fp16`."""
    storage: Annotated[str, AfterValidator(_storage)] | None = None
    """Optuna storage URL of the history, for a team: a database server, `redis://`, or `journal:///file` on
    a shared disk; None: study.db in the run folder."""
    study: str = Field("autobert-zero", min_length=1)
    """Name of the study in the storage."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    space: SpaceConfig = SpaceConfig()
    strategy: StrategyConfig = StrategyConfig()
    limits: LimitsConfig = LimitsConfig()
    prefilter: PrefilterConfig = PrefilterConfig()
    proxy: ProxyConfig = ProxyConfig()
    final: FinalConfig = FinalConfig()
    distil: DistilConfig | None = None
    """Search from a model: candidates start from the weights of a teacher and learn from it; None: they learn
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
        if self.bounds.attention_share:
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
    def bounds(self) -> Space:
        """The space that is searched, with its known backbones where the search begins with them."""
        primitives = choose_primitives(self.space.primitives)
        space = Space(
            self.model.layers,
            self.space.max_ops,
            self.space.attention_share,
            primitives,
            min_layers=self.space.min_layers,
        )
        if not self.strategy.known:
            return space
        return replace(space, known=tuple(known_backbones(space).items()))


_BEFORE = {"proxy": {"calibration": 0, "train_again": 0}}
"""What searches did that were started before there were these settings; a newer one has saved its own."""


def saved_config(settings: dict[str, Any]) -> SearchConfig:
    """The config of a search from the settings that it saved.

    Args:
        settings: All of them; those that the version which saved them did not have may be missing.

    Raises:
        ConfigError: As `resolve`.
    """
    return resolve(SearchConfig(), _BEFORE, settings)
