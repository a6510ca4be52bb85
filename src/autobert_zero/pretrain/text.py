"""The text of a pre-training: tokenizer, training batches of each phase, and held-out batches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from tokenizers import Tokenizer

from autobert_zero.announce import streamed_line, text_line
from autobert_zero.data.batches import TrainingBatches, batches_of, evaluation_batches
from autobert_zero.data.corpus import Corpus
from autobert_zero.data.masking import MaskedBatch, Masking, Vocabulary
from autobert_zero.data.packing import check_unknown, unknown_share
from autobert_zero.data.prepare import Progress, prepare_text
from autobert_zero.data.splits import spread
from autobert_zero.data.streaming import StreamingBatches, first_block, held_out
from autobert_zero.data.tokenizer import choose_tokenizer
from autobert_zero.pretrain.config import PhaseConfig, PretrainConfig
from autobert_zero.run_folder import Input

Batches = TrainingBatches | StreamingBatches
"""A source of training batches."""


@dataclass(frozen=True)
class PhaseText:
    """The text of a phase.

    Attributes:
        train: Endless training batches.
        validation: Batches of validation text, measured while training.
        holdout: Batches of held-out text, measured at the end.
    """

    train: Batches
    validation: list[MaskedBatch]
    holdout: list[MaskedBatch]


@dataclass(frozen=True)
class PretrainingText:
    """The text of a pre-training.

    Attributes:
        tokenizer: The tokenizer, trained or loaded.
        vocabulary: Vocabulary of the tokenizer.
        phases: The text of each phase.
        lines: Description of the text, for the first lines of a command.
        inputs: The text's identity, for the record of the run.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    phases: tuple[PhaseText, ...]
    lines: tuple[str, ...]
    inputs: Mapping[str, Input]


def open_text(
    config: PretrainConfig,
    watch: Progress,
    tokenizer: Tokenizer | None = None,
    check: Callable[[Mapping[str, Input]], None] = lambda inputs: None,
) -> PretrainingText:
    """Reads and tokenises the corpus (cached), or opens it for streaming.

    Args:
        config: Config of the pre-training.
        watch: Called with the progress.
        tokenizer: The tokenizer to use; None for that of the config.
        check: Called with the inputs before the text is tokenised.

    Raises:
        UserError: The corpus or the tokenizer cannot be used.
    """
    return (_streamed if config.data.streaming else _prepared_text)(
        config, watch, tokenizer, lambda corpus: check(_corpus_inputs(corpus))
    )


def _prepared_text(
    config: PretrainConfig, watch: Progress, tokenizer: Tokenizer | None, check: Callable[[Corpus], None]
) -> PretrainingText:
    text = config.data
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
    config: PretrainConfig, watch: Progress, tokenizer: Tokenizer | None, check: Callable[[Corpus], None]
) -> PretrainingText:
    text = config.data
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

    phases = tuple(phase_text(*numbered) for numbered in enumerate(config.phases))
    return PretrainingText(
        chosen.tokenizer, vocabulary, phases, (streamed_line(begin, chosen, share),), _corpus_inputs(begin)
    )


def _corpus_inputs(corpus: Corpus) -> dict[str, Input]:
    inputs = {"text": Input(corpus.identity, corpus.name)}
    if corpus.files_digest:
        inputs["files of text"] = Input(corpus.files_digest, corpus.name)
    return inputs


def _masking(config: PretrainConfig) -> Masking:
    text = config.data
    return Masking(text.whole_words, text.next_sentence, text.isolated)
