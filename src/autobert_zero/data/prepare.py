"""Corpus, tokenizer and splits of a search or a pre-training, from their names in a config."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tokenizers import Tokenizer

from autobert_zero.data.corpus import Corpus, open_corpus
from autobert_zero.data.masking import Masking, Vocabulary
from autobert_zero.data.packing import pack, unknown_share
from autobert_zero.data.splits import Splits, open_sequences, split
from autobert_zero.data.tokenizer import ChosenTokenizer, choose_tokenizer, keep_tokenizer
from autobert_zero.shared_config import CorpusConfig

Progress = Callable[[str, int, int], None]
"""Called with the name of the work, the amount done and the total."""


@dataclass(frozen=True)
class PreparedSplits:
    """A corpus as sequences of one length.

    Attributes:
        splits: Training, validation and held-out text.
        unknown_share: Share of `[UNK]` among the tokens.
    """

    splits: Splits
    unknown_share: float


@dataclass(frozen=True)
class PreparedText:
    """A corpus that is ready to train on.

    Attributes:
        corpus: The text.
        chosen: Its tokenizer.
        lengths: The sequences of each requested length.
    """

    corpus: Corpus
    chosen: ChosenTokenizer
    lengths: tuple[PreparedSplits, ...]


def prepare_text(
    settings: CorpusConfig,
    sizes: Sequence[tuple[int, int]],
    progress: Progress,
    tokenizer: Tokenizer | None = None,
    check: Callable[[Corpus], None] = lambda corpus: None,
    masking: Masking | None = None,
) -> PreparedText:
    """Reads, tokenises and splits a corpus; results are cached.

    Args:
        settings: Settings of corpus and tokenizer.
        sizes: For each use of the text, the length of sequences and the largest batch size.
        progress: Called with the progress.
        tokenizer: The tokenizer of an earlier run; None for that of the settings.
        check: Called with the corpus before it is tokenised.
        masking: How tokens will be masked; None masks single tokens.

    Raises:
        UserError: The corpus or the tokenizer cannot be used, or the cache cannot be written.
    """
    corpus = open_corpus(settings)
    check(corpus)
    chosen = choose_tokenizer(settings, corpus, partial(progress, "training the tokenizer"), tokenizer)
    words = masking is not None and masking.needs_marks(Vocabulary.of(chosen.tokenizer))
    lengths = []
    for length, batch_size in sizes:
        at_least = _sequences_for(batch_size)
        path = pack(corpus, chosen.tokenizer, length, at_least, partial(progress, "tokenising"), words)
        lengths.append(PreparedSplits(split(path), unknown_share(open_sequences(path), chosen.tokenizer)))
    keep_tokenizer(chosen, settings, corpus)
    return PreparedText(corpus, chosen, tuple(lengths))


def _sequences_for(batch_size: int) -> int:
    """Minimum sequences of a corpus for one training batch.

    Training gets nine tenths, less a block; validation and held-out text share a tenth.
    """
    return max(20, -(-batch_size * 10 // 9) + 2)
