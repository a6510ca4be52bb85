"""From a config to batches: tokenizer, training text of each phase, held-out text."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from autobert_zero.announce import streamed_line, text_line
from autobert_zero.data.batches import TrainingBatches, batches_of, evaluation_batches
from autobert_zero.data.corpus import Corpus
from autobert_zero.data.masking import MaskedBatch, Masking, Vocabulary
from autobert_zero.data.packing import check_unknown, unknown_share
from autobert_zero.data.prepare import prepare_text
from autobert_zero.data.splits import spread
from autobert_zero.data.streaming import StreamingBatches, first_block, held_out
from autobert_zero.data.tokenizer import choose_tokenizer
from autobert_zero.pretrain.config import PhaseConfig, PretrainConfig
from autobert_zero.run_folder import Input

Watch = Callable[[str, int, int], None]
"""Called with the name of the work, the amount done and the total."""


class Batches(Protocol):
    """A source of training batches."""

    def starting(self, step: int) -> Iterator[MaskedBatch]:
        """Yields the batches from a step on, counted from 0."""
        ...


@dataclass(frozen=True)
class PhaseText:
    """The text of a phase.

    Attributes:
        train: Batches without end.
        validation: Watched while training.
        holdout: For the figures at the end.
    """

    train: Batches
    validation: list[MaskedBatch]
    holdout: list[MaskedBatch]


@dataclass(frozen=True)
class PretrainingText:
    """All that a pre-training reads.

    Attributes:
        tokenizer: Trained or loaded.
        vocabulary: The tokenizer's.
        phases: One for each phase of the config.
        lines: The text in words, for the first lines of a training.
        inputs: What was read, by what it is, for the record of the run.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    phases: tuple[PhaseText, ...]
    lines: tuple[str, ...]
    inputs: Mapping[str, Input]


def open_text(
    config: PretrainConfig,
    watch: Watch,
    tokenizer: Tokenizer | None = None,
    check: Callable[[Mapping[str, Input]], None] = lambda inputs: None,
) -> PretrainingText:
    """Reads and tokenises the corpus (cached), or opens it for streaming.

    Args:
        config: The config.
        watch: Called with the progress.
        tokenizer: The one to use; None: what the config says.
        check: Called with what was read before anything is made of it.

    Raises:
        UserError: The corpus or the tokenizer cannot be used.
    """
    return (_streamed if config.text.streaming else _prepared_text)(
        config, watch, tokenizer, lambda corpus: check(_corpus_inputs(corpus))
    )


def _prepared_text(
    config: PretrainConfig, watch: Watch, tokenizer: Tokenizer | None, check: Callable[[Corpus], None]
) -> PretrainingText:
    text = config.text
    sizes = [(phase.length, phase.batch_size) for phase in config.phases]
    masking = _masking(config)
    prepared = prepare_text(text, sizes, watch, tokenizer, check, masking)
    chosen = prepared.chosen
    vocabulary = Vocabulary.of(chosen.tokenizer)
    phases = []
    for number, (phase, data) in enumerate(zip(config.phases, prepared.lengths, strict=True)):
        parts = data.splits
        limit, size = config.report.evaluated_sequences, 2 * phase.batch_size
        phases.append(
            PhaseText(
                TrainingBatches(parts.train, vocabulary, phase.batch_size, (config.seed, number), masking),
                evaluation_batches(parts.validation, vocabulary, size, limit, masking),
                evaluation_batches(parts.holdout, vocabulary, size, limit, masking),
            )
        )
    lines = dict.fromkeys(text_line(prepared.corpus, data, chosen) for data in prepared.lengths)
    return PretrainingText(
        chosen.tokenizer, vocabulary, tuple(phases), tuple(lines), _corpus_inputs(prepared.corpus)
    )


def _streamed(
    config: PretrainConfig, watch: Watch, tokenizer: Tokenizer | None, check: Callable[[Corpus], None]
) -> PretrainingText:
    text = config.text
    begin = first_block(text)
    check(begin)
    chosen = choose_tokenizer(text, begin, partial(watch, "training the tokenizer"), tokenizer)
    vocabulary = Vocabulary.of(chosen.tokenizer)
    rows = held_out(begin, chosen.tokenizer, config.positions)
    check_unknown(begin, chosen.tokenizer, rows)
    share = unknown_share(rows, chosen.tokenizer)

    def phase_text(number: int, phase: PhaseConfig) -> PhaseText:
        seed, masking = (config.seed, number), _masking(config)
        rows = held_out(begin, chosen.tokenizer, phase.length, masking.needs_marks(vocabulary))
        rows = rows[spread(len(rows), 2 * config.report.evaluated_sequences)]
        halves = (
            batches_of(half, vocabulary, 2 * phase.batch_size, masking) for half in np.array_split(rows, 2)
        )
        train = StreamingBatches(
            text, chosen.tokenizer, vocabulary, phase.length, phase.batch_size, seed, masking
        )
        return PhaseText(train, *halves)

    phases = tuple(phase_text(*each) for each in enumerate(config.phases))
    return PretrainingText(
        chosen.tokenizer, vocabulary, phases, (streamed_line(begin, chosen, share),), _corpus_inputs(begin)
    )


def _corpus_inputs(corpus: Corpus) -> dict[str, Input]:
    inputs = {"text": Input(corpus.identity, corpus.name)}
    if corpus.files_digest:
        inputs["files of text"] = Input(corpus.files_digest, corpus.name)
    return inputs


def _masking(config: PretrainConfig) -> Masking:
    text = config.text
    return Masking(text.whole_words, text.next_sentence, text.isolated)
