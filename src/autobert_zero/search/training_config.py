"""The settings of a search's trainings: of each candidate, and of the comparison at the end."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from autobert_zero.settings import COMPUTING, Section, Source
from autobert_zero.shared_config import Rates


class ProxyTasksConfig(Section):
    """Fine-tuning as a proxy; used if `proxy.score` is `tasks`."""

    names: tuple[Source, ...] = ("cola", "mrpc", "rte")
    """GLUE tasks, squad, squad_v2, or YAML files of the user."""
    data: Source | None = None
    """Folder with one sub-folder per task; None: from the Hub."""
    steps: int = Field(100, ge=1)
    """Number of updates on each task."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a batch."""
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    """Peak learning rate."""


class ProxyPairsConfig(Section):
    """Minimal pairs as a proxy; used if `proxy.score` is `minimal_pairs`."""

    data: Source | None = None
    """A file of minimal pairs, or a folder of such files, as the command `minimal-pairs` reads them."""
    pairs: int = Field(2000, ge=1)
    """Maximum number of pairs, spread evenly over the paradigms: the same for every candidate."""
    within_word: bool = False
    """Mask the later tokens of a word with each of its tokens."""


class ProxyConfig(Section):
    """How a candidate is evaluated."""

    sharing: Literal["biws", "none"] = "biws"
    """`biws`: candidates train for a few steps from shared weights (paper). `none`: from new weights, so that
    scores do not depend on earlier trainings, and `rungs` decide which candidates continue."""
    score: Literal["loss", "accuracy", "tasks", "minimal_pairs"] = "loss"
    """The negative MLM loss, the MLM accuracy, the mean over fine-tuned tasks (paper), or the accuracy on
    minimal pairs."""
    candidates: int = Field(26, ge=1)
    """Number of candidates, including failed and diverged ones."""
    warmup_steps: int = Field(240, ge=0)
    """Updates of the shared weights before the first score. If the search has known backbones, known
    attentions and all kernels are trained equally long at every position; else layers are random."""
    warmup_attention_share: float = Field(0.0, ge=0, le=1)
    """Probability that a random layer of the warm-up is an attention; if the search has known backbones, any
    value above 0 includes random attentions. Convolutions leave the plateau of unigram statistics hundreds of
    steps earlier, and take embeddings and feed-forward blocks with them."""
    calibration: float = Field(0.5, ge=0, le=4)
    """Extra updates, as a share of `steps`, for a candidate whose shared weights were not trained at all;
    fewer the more they were trained, and none once they have half the updates of the most trained weights."""
    train_again: int = Field(16, ge=0)
    """Number of candidates after which possible parents, and the backbones that the search was given, are
    trained again before they are compared, since the shared weights have moved; 0: they are only scored."""
    steps: int = Field(40, ge=1)
    """Number of updates of each candidate."""
    batch_size: int = Field(32, ge=1)
    """Sequences in a batch."""
    learning_rate: float = Field(1e-3, gt=0, lt=1)
    """Peak learning rate."""
    validation_sequences: int = Field(256, ge=1)
    """Number of held-out sequences that a score is measured on."""
    together: int = Field(1, ge=1)
    """Number of candidates of a round that train from one state of the shared weights and are then merged;
    `--workers` and `--ray` divide them. On a CPU each trains on one thread, with any number of workers."""
    rungs: tuple[float, ...] = ()
    """Shares of the steps after which a candidate is scored, and stopped unless it is among the best
    (successive halving), for example 0.25, 0.5."""
    rung_share: float = Field(0.5, gt=0, lt=1)
    """Share of the recent candidates that continues at a rung."""
    max_seconds: float | None = Field(None, gt=0)
    """A candidate that trains for longer fails; such a run is not reproducible on other machines."""
    max_memory_gb: float | None = Field(None, gt=0)
    """A candidate whose training takes more memory fails: on a CUDA card as measured in its first steps,
    elsewhere as estimated before it is trained."""
    tasks: ProxyTasksConfig = ProxyTasksConfig()
    minimal_pairs: ProxyPairsConfig = ProxyPairsConfig()

    @model_validator(mode="after")
    def _rungs_rise(self) -> "ProxyConfig":
        if list(self.rungs) != sorted({share for share in self.rungs if 0 < share < 1}):
            raise ValueError(f"rungs must be increasing shares between 0 and 1, not {list(self.rungs)}")
        return self

    @model_validator(mode="after")
    def _pairs_are_named(self) -> "ProxyConfig":
        if self.score == "minimal_pairs" and self.minimal_pairs.data is None:
            raise ValueError("score minimal_pairs needs a file or folder of pairs: set minimal_pairs.data")
        return self


class FinalConfig(Section):
    """The comparison at the end: from scratch, at higher fidelity."""

    finalists: int = Field(4, ge=1)
    """Number of best candidates that are screened."""
    screening_steps: int = Field(880, ge=1)
    """Number of updates of each finalist; the best on validation text is the winner."""
    steps: int = Field(880, ge=1)
    """Number of updates of the winner and of its opponents, with another seed."""
    batch_size: int = Field(16, ge=1)
    """Sequences in a batch."""
    learning_rate: float = Field(3e-3, gt=0, lt=1)
    """Peak learning rate."""
    rates: Rates = ()
    """Peak learning rates to try for every model of the comparison, at the screening's length; each model
    is trained with its best rate. Empty: all are trained with `learning_rate`."""
    equal_time: bool = True
    """Whether the opponents are also trained for as long as the winner takes, at their own speeds."""
    short_share: float = Field(0.0, ge=0, le=1)
    """Share of the steps, at the start, in which sequences are cut into short ones: without those, backbones
    of attentions only stay on the plateau of unigram statistics for tens of millions of tokens."""
    short_length: int = Field(16, ge=8)
    """Number of tokens in each short sequence; divides `data.length`."""
    workers: Annotated[int, COMPUTING] = Field(0, ge=0)
    """Number of models trained at once, each with its share of the cores; 0: as many as `--workers`, or
    without it as many as there are cores, or as fit on the GPUs (see `gpu_share`)."""
