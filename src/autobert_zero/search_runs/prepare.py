"""Prepares text, sizes and device of a run from its config. All checks of the user's input happen here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer

from autobert_zero.announce import estimate_line, machine_line, model_line, text_line
from autobert_zero.data.batches import evaluation_batches
from autobert_zero.data.masking import Vocabulary
from autobert_zero.data.prepare import prepare_text
from autobert_zero.data.splits import Splits
from autobert_zero.data.tokenizer import load_tokenizer
from autobert_zero.devices import find_device, make_deterministic
from autobert_zero.errors import UserError, counted, unknown_name
from autobert_zero.nn import EncoderConfig
from autobert_zero.proxies import PROXIES, Untrained
from autobert_zero.run_folder import Input
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.limits import Costs, Limits
from autobert_zero.search.strategies import Prefilter
from autobert_zero.search_runs.latency import LatencyTable, with_latency_batch
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.scoring import Scorer, other_scores
from autobert_zero.search_runs.stages import search_stages
from autobert_zero.search_runs.start_model import StartModel, load_start_model, open_start_model
from autobert_zero.shared_config import COMPARED_BY_TEXT
from autobert_zero.space import Space
from autobert_zero.training.capture import capture_refusal, captures
from autobert_zero.training.precision import resolve_precision
from autobert_zero.zoo import known_backbones

_MEASURED = 16
"""Sequences that a zero-cost proxy is measured on."""

_NARROWING_BATCH = 16
"""Sequences in a batch of the text on which inner units are chosen."""

_NARROWED_ON = 64
"""Sequences on which the inner units of narrower feed-forward blocks are chosen."""


@dataclass(frozen=True)
class PreparedSearch:
    """Everything that a run needs, prepared from its config.

    Attributes:
        config: Config of the search.
        corpus: Digest and name of the corpus.
        tokenizer: The trained or loaded tokenizer.
        data: The tokenised corpus, split.
        vocabulary: Vocabulary of the tokenizer.
        model: Sizes of every model of the run.
        space: Bounds of the search.
        device: Device to train on.
        text: One line about the prepared text.
        start: The model that the search starts from, if any.
    """

    config: SearchConfig
    corpus: Input
    tokenizer: Tokenizer
    data: Splits
    vocabulary: Vocabulary
    model: EncoderConfig
    space: Space
    device: torch.device
    text: str
    start: StartModel | None = None

    def announcement(self, ray: str | None = None, seeds: int = 0) -> list[str]:
        """The first lines of a search: text, models, strategy, device, and how long it will take.

        Args:
            ray: Address of the cluster that does the training; None: this machine.
            seeds: Number of backbones that the user gives.
        """
        config, precision = self.config, self.config.precision
        batch = f"{config.limits.latency_batch} x {config.limits.latency_length} tokens"
        how = config.limits.latency_precision or "this precision"
        latency = [f"latency is measured with {batch}, in {how}"] if config.measures_latency else []
        lines = [
            self.text,
            model_line(config.model.layers, self.model),
            f"strategy {config.strategy.name}: {counted(config.proxy.candidates, 'candidate')} "
            f"of {config.proxy.steps} steps each; seed {config.seed}",
        ]
        refusal = COMPARED_BY_TEXT if self.start is not None else capture_refusal(self.device, precision)
        if ray is None and captures(config.compile) and refusal is not None:
            lines.append(f"steps are not captured: {refusal}")
        if ray is not None:
            return [*lines, f"trained on the Ray cluster {ray}; precision {precision}"]
        return [
            *lines,
            machine_line(self.device, precision),
            *latency,
            estimate_line(search_stages(config, seeds), self.model, precision, self.device),
        ]

    def latencies(self, path: Path | None = None) -> LatencyTable | None:
        """The latencies of layers; None if no limit or objective needs them.

        Args:
            path: File for the measurements; None: they are not kept.

        Raises:
            UserError: The file is damaged.
        """
        config, limits = self.config, self.config.limits
        if not config.measures_latency:
            return None
        sizes = self.model if self.start is None else self.start.sizes
        batch, length = limits.latency_batch, limits.latency_length
        assert batch is not None
        precision = limits.latency_precision or config.precision
        return LatencyTable(sizes, batch, length, self.device, precision, path)

    def limits(self, latencies: LatencyTable | None = None) -> Limits:
        """The limits of the run; without a table, latencies are measured where needed, and not kept."""
        table, length = latencies or self.latencies(), self.config.data.length
        own = None if table is None else partial(table, inner=self.model.inner)
        costs = Costs(self.model, length, own)
        if self.start is None:
            return Limits(self.config.limits, costs)
        whole = replace(self.model, feed_forward=self.start.sizes.inner)
        return Limits(self.config.limits, costs, self.start.backbone, Costs(whole, length, table))

    def within(self, limits: Limits) -> Space:
        """The space within the limits, with the known backbones of its depths."""
        space = limits.within(self.space)
        if not self.config.strategy.known:
            return space
        if self.start is None:
            known = known_backbones(space)
        else:
            known = self.start.known(space, limits.refusal)
        return replace(space, known=tuple(known.items()))

    def with_inner(self, inner: int) -> "PreparedSearch":
        """The run with students whose feed-forward blocks are narrower than those of the model."""
        assert self.start is not None
        if inner == self.model.inner:
            return self
        text = evaluation_batches(
            self.data.train, self.vocabulary, _NARROWING_BATCH, _NARROWED_ON, self.start.masking
        )
        narrow = {"model": self.config.model.model_copy(update={"feed_forward": inner})}
        return replace(
            self,
            config=self.config.model_copy(update=narrow),
            model=replace(self.model, feed_forward=inner),
            start=self.start.narrow(inner, text, self.device),
        )

    def evaluator(self) -> ProxyEvaluator:
        """A new evaluator with a randomly initialised bank."""
        config, proxy = self.config, self.config.proxy
        validation = evaluation_batches(
            self.data.validation,
            self.vocabulary,
            2 * proxy.batch_size,
            proxy.validation_sequences,
            None if self.start is None else self.start.masking,
        )
        others = other_scores(config, self.tokenizer, self.model, self.device)
        scorer = Scorer(config, self.vocabulary, validation, self.device, others, self.start)
        return ProxyEvaluator(self.model, self.space.layers, self.data, scorer)

    def prefilter(self) -> Prefilter | None:
        """Chooses among draws, if the config names a proxy; a function of seed and config alone."""
        config = self.config.prefilter
        if config.proxy is None:
            return None
        return Prefilter(self.untrained(config.proxy), config.draws)

    def untrained(self, proxy: str) -> Untrained:
        """A zero-cost proxy as a function of the backbone, on training text."""
        (batch,) = evaluation_batches(self.data.train, self.vocabulary, _MEASURED, _MEASURED)
        return Untrained(PROXIES[proxy], self.model, batch, self.config.seed)


def _unwatched(name: str, done: int, total: int) -> None:
    pass


def _training_device(config: SearchConfig, remote: bool) -> torch.device:
    try:
        device = find_device(config.device)
        resolve_precision(config.precision, device)  # a format that the device does not compute in is refused
    except UserError:
        elsewhere = remote and config.device.split(":")[0] in ("auto", "cuda")
        if not elsewhere or config.measures_latency:
            raise
        return torch.device("cpu")
    return device


def prepare(
    config: SearchConfig,
    watch: Callable[[str, int, int], None] = _unwatched,
    tokenizer: Tokenizer | None = None,
    remote: bool = False,
) -> PreparedSearch:
    """Reads and tokenises the corpus (cached) and checks everything that the config names.

    Args:
        config: Config of the search.
        watch: Called with the name of the work, the amount done and the total.
        tokenizer: Tokenizer of a continued run; None: the one that the config names.
        remote: Whether a cluster does the training; this machine then needs a GPU only to measure latency.

    Raises:
        UserError: The corpus, the tokenizer or the device cannot be used, or there is no such proxy.
    """
    if config.prefilter.proxy not in (None, *PROXIES):
        raise UserError(unknown_name("prefilter.proxy", str(config.prefilter.proxy), PROXIES))
    encoder = None if config.distil is None else open_start_model(config.distil.teacher)
    if encoder is not None:
        tokenizer = tokenizer or load_tokenizer(encoder.source)
    if config.deterministic:
        make_deterministic()
    device = _training_device(config, remote)
    config = with_latency_batch(config, device)
    batch = max(config.proxy.batch_size, config.final.batch_size)
    prepared = prepare_text(config.data, [(config.data.length, batch)], watch, tokenizer)
    corpus, chosen, (data,) = prepared.corpus, prepared.chosen, prepared.lengths
    vocabulary = Vocabulary.of(chosen.tokenizer)
    if encoder is None:
        start, model = None, config.model.encoder_config(vocabulary.size, config.data.length)
    else:
        start = load_start_model(encoder, config, chosen.tokenizer)
        model = replace(start.sizes, dropout=config.model.dropout)
    text = text_line(corpus, data, chosen)
    used = Input(corpus.identity, corpus.name)
    run = PreparedSearch(
        config, used, chosen.tokenizer, data.splits, vocabulary, model, config.bounds, device, text, start
    )
    inner = config.model.encoder_config(vocabulary.size, config.data.length).inner
    return run if start is None else run.with_inner(inner)
