"""Tokenised once: a corpus as fixed-length sequences in a memory-mapped file."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from autobert_zero.data.cache import cache_path
from autobert_zero.data.corpus import Corpus, Watch, unwatched
from autobert_zero.data.lines import CorpusError
from autobert_zero.files import written_whole

Sequences = NDArray[np.unsignedinteger[Any]]

_HELD_OUT_EVERY = 20
_LONGEST_BLOCK = 32


@dataclass(frozen=True)
class Part:
    """Some of the sequences of a file; they stay on disk until they are taken.

    Attributes:
        path: A `.npy` file of (N, n) token ids.
        rows: Which of them, in order.
    """

    path: Path
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: NDArray[np.int64] | slice) -> Sequences:
        """The sequences at these places of the part, (len(indices), n)."""
        return np.asarray(_opened(self.path)[self.rows[indices]])


@dataclass(frozen=True)
class Splits:
    """Disjoint parts of a corpus.

    Attributes:
        train: 90 %.
        validation: 5 %, scores candidates and chooses the winner.
        holdout: 5 %, seen by neither; final figures are measured on it.
    """

    train: Part
    validation: Part
    holdout: Part


@cache
def _opened(path: Path) -> Sequences:
    return np.load(path, mmap_mode="r")


def pack(corpus: Corpus, tokenizer: Tokenizer, length: int, at_least: int, watch: Watch = unwatched) -> Path:
    """Tokenises a corpus into sequences `[CLS] ... [SEP]`, paragraphs joined by `[SEP]`.

    The result is cached by the text, the tokenizer, the length and the code of this module.

    Args:
        corpus: The text.
        tokenizer: With BERT's special tokens.
        length: n, tokens in a sequence.
        at_least: Number of sequences needed.
        watch: Told the progress.

    Returns:
        A `.npy` file of (N, n) token ids.

    Raises:
        CorpusError: There are fewer than `at_least` sequences; nothing is written then.
    """
    recipe = f"{corpus.identity}\n{tokenizer.to_str()}\n{length}"
    path = cache_path(recipe, ".npy", __file__)
    if not path.exists():
        sequences = tokenise(corpus.batches(watch), tokenizer, length)
        _check_count(corpus, len(sequences), at_least)
        with written_whole(path) as partial, partial.open("wb") as stream:
            np.save(stream, sequences)
    _check_count(corpus, len(_opened(path)), at_least)
    return path


def _check_count(corpus: Corpus, found: int, at_least: int) -> None:
    if found < at_least:
        raise CorpusError(
            f"corpus {corpus.name!r} gives {found} sequences, fewer than the {at_least} needed for one batch "
            "of training and for validation; use more text, a smaller batch or shorter sequences"
        )


def tokenise(batches: Iterable[list[str]], tokenizer: Tokenizer, length: int) -> Sequences:
    """Packs paragraphs, batch after batch, into sequences `[CLS] ... [SEP]` of (N, length) token ids."""
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    kind = np.uint16 if max(tokenizer.get_vocab().values()) < 1 << 16 else np.uint32
    # A user's tokenizer may truncate or pad: here neither.
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    parts = []
    for batch in batches:
        texts = [text for text in batch if text]
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            parts.append(np.array([*encoding.ids, sep], dtype=kind))
    stream = np.concatenate(parts) if parts else np.empty(0, dtype=kind)
    body = length - 2
    count = len(stream) // body
    sequences = np.empty((count, length), dtype=kind)
    sequences[:, 0] = cls
    sequences[:, 1:-1] = stream[: count * body].reshape(count, body)  # (N, n - 2)
    sequences[:, -1] = sep
    return sequences


def spread(count: int, limit: int) -> NDArray[np.int64]:
    """Up to `limit` different indices of `count` rows, evenly spaced from the first to the last."""
    chosen = min(count, limit)
    return np.arange(chosen) * (count - 1) // max(chosen - 1, 1)  # exact, where np.linspace rounds


def split(path: Path) -> Splits:
    """Splits by blocks of neighbouring sequences, spread over the whole corpus.

    A cut at the end would test on another book; single sequences would test on the next line of the
    training text.
    """
    count = len(_opened(path))
    block = min(max(count // (20 * _HELD_OUT_EVERY), 1), _LONGEST_BLOCK)
    place = np.arange(count) // block % _HELD_OUT_EVERY
    validation, holdout = place == _HELD_OUT_EVERY // 2, place == _HELD_OUT_EVERY - 1
    chosen = (~(validation | holdout), validation, holdout)
    return Splits(*(Part(path, np.flatnonzero(where)) for where in chosen))
