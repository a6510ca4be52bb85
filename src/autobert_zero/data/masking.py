"""Batches for masked language modelling (BERT): 15 % of the tokens, 80 / 10 / 10, redrawn every time."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from autobert_zero.data.packing import CONTINUES
from autobert_zero.data.splits import Sequences

MASKED_SHARE = 0.15

_LONGEST_WORD = 16
"""Maximum tokens of a word that is masked whole even if they are more than 15 % of its sequence."""


@dataclass(frozen=True)
class Vocabulary:
    """The token ids of a tokenizer that masking needs.

    Attributes:
        size: Number of token ids.
        mask: Id of `[MASK]`.
        separator: Id of `[SEP]`, which ends a document.
        never: Ids that are never masked, and so never count in a loss: `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`.
        continues: Ids of pieces that always continue a word (`##ing`); empty if ids do not show that, see
            `Masking.needs_marks`.
    """

    size: int
    mask: int
    separator: int
    never: tuple[int, ...]
    continues: frozenset[int] = frozenset()

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Vocabulary":
        """The vocabulary of a tokenizer with BERT's special tokens."""
        vocabulary = tokenizer.get_vocab()
        never = tuple(vocabulary[token] for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]"))
        prefix = getattr(tokenizer.model, "continuing_subword_prefix", None)
        continues = (index for piece, index in vocabulary.items() if prefix and piece.startswith(prefix))
        return cls(
            max(vocabulary.values()) + 1,
            vocabulary["[MASK]"],
            vocabulary["[SEP]"],
            never,
            frozenset(continues),
        )


@dataclass(frozen=True)
class Masking:
    """Settings of the masking of packed sequences.

    Attributes:
        whole_words: Whether to mask all pieces of a word or none.
        next_sentence: Whether to cut each sequence into two segments and replace half of the second ones.
        isolated: Whether the documents of a sequence do not see each other, each with positions from 0.
    """

    whole_words: bool = False
    next_sentence: bool = False
    isolated: bool = False

    def needs_marks(self, vocabulary: Vocabulary) -> bool:
        """Whether packing has to mark the tokens that continue a word, see `tokenise_batches`."""
        return self.whole_words and not vocabulary.continues


@dataclass(frozen=True)
class MaskedBatch:
    """The input of a step.

    Attributes:
        ids: (B, n) masked token ids.
        rows: (m,) indices into B * n of the tokens to predict; m is the same for all full batches, except
            with whole words.
        labels: (m,) tokens to predict.
        segments: (B, n) segment ids; None for a single segment.
        order: (B,) 0 if the second segment follows the first, else 1; None without segments.
        starts: (B, n) booleans, True where a document starts; None if documents are not isolated.
    """

    ids: Tensor
    rows: Tensor
    labels: Tensor
    segments: Tensor | None = None
    order: Tensor | None = None
    starts: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, stop: int) -> "MaskedBatch":
        """The sequences from `start` up to, but not including, `stop`."""
        tokens = self.ids.shape[1]
        inside = (self.rows >= start * tokens) & (self.rows < stop * tokens)
        rows, labels = self.rows[inside] - start * tokens, self.labels[inside]
        rest = (
            None if tensor is None else tensor[start:stop]
            for tensor in (self.segments, self.order, self.starts)
        )
        return MaskedBatch(self.ids[start:stop], rows, labels, *rest)

    def cut(self, length: int) -> "MaskedBatch":
        """The same tokens in shorter, separate sequences.

        Args:
            length: Tokens in a sequence; divides n.

        Raises:
            ValueError: The batch has segments or isolated documents, which the cuts would split.
        """
        if self.segments is not None or self.starts is not None:
            raise ValueError("a batch with segments or isolated documents cannot be cut")
        return replace(self, ids=self.ids.view(-1, length))  # (B * n / length, length)


def mask_batch(
    random: np.random.Generator,
    rows: Sequences,
    vocabulary: Vocabulary,
    masking: Masking | None = None,
    spare: Sequences | None = None,
) -> MaskedBatch:
    """Masks a batch of packed sequences.

    Args:
        random: Source of all random choices.
        rows: (B, n) token ids, as `tokenise_batches` packs them.
        vocabulary: Vocabulary of the tokenizer.
        masking: How to mask; None is BERT's masking without next sentences.
        spare: (n,) ids of another sequence, which replaces the second segment in a batch of one.
    """
    masking = masking or Masking()
    packed: NDArray[np.int64] = rows.astype(np.int64)
    segments = order = starts = None
    if masking.next_sentence:
        packed, segments, order = _two_segments(random, packed, vocabulary.separator, spare)
    ids = packed & ~CONTINUES
    if masking.isolated:
        starts = np.zeros(ids.shape, dtype=bool)
        starts[:, 0] = True
        starts[:, 1:] = ids[:, :-1] == vocabulary.separator
    allowed = ~np.isin(ids, vocabulary.never)
    if masking.whole_words:
        continues = (packed != ids) | np.isin(ids, tuple(vocabulary.continues))
        positions = _choose_words(random, continues, allowed)
    else:
        positions = _choose_tokens(random, allowed)
    flat = ids.reshape(-1)  # (B * n,), a view
    labels = flat[positions]
    kind = random.random(len(positions))
    flat[positions[kind < 0.8]] = vocabulary.mask
    swapped = positions[kind >= 0.9]
    flat[swapped] = random.integers(vocabulary.size, size=len(swapped))
    tensors = (None if array is None else torch.from_numpy(array) for array in (segments, order, starts))
    return MaskedBatch(*map(torch.from_numpy, (ids, positions, labels)), *tensors)


def _choose_tokens(random: np.random.Generator, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Chooses 15 % of the tokens of each sequence, as sorted indices into B * n."""
    batch, tokens = allowed.shape
    # The smallest random numbers are a uniform choice; tokens that must not be masked come last.
    drawn = np.where(allowed, random.random(allowed.shape), 2.0)
    order = np.argsort(drawn, axis=1)[:, : _masked_count(tokens)]  # (B, count)
    positions = (order + np.arange(batch)[:, None] * tokens).reshape(-1)  # (B * count,)
    flat = allowed.reshape(-1)  # (B * n,)
    return np.sort(positions[flat[positions]])


def _choose_words(
    random: np.random.Generator, continues: NDArray[np.bool_], allowed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Chooses words up to 15 % of the tokens of each sequence, as sorted indices into B * n.

    Runs longer than that, and than 16 tokens or half of the sequence, are masked token by token: in scripts
    without spaces and in sequences of nucleotides they are no words.
    """
    batch, tokens = allowed.shape
    begins = ~continues | ~allowed
    begins[:, 0] = True
    run = np.cumsum(begins).reshape(batch, tokens) - 1  # (B, n), numbered over all rows
    lengths = np.bincount(run.reshape(-1))  # (runs,)
    begins |= lengths[run] > max(_masked_count(tokens), min(_LONGEST_WORD, tokens // 2))
    word = np.cumsum(begins, axis=1) - 1  # (B, n): the number of the word in its sequence
    drawn = np.take_along_axis(random.random(allowed.shape), word, axis=1)  # one number for all of a word
    drawn = np.where(allowed, drawn, 2.0)
    last = np.sort(drawn, axis=1)[:, _masked_count(tokens) - 1]  # (B,)
    return np.flatnonzero((drawn <= last[:, None]) & allowed)


def _masked_count(tokens: int) -> int:
    return max(round(MASKED_SHARE * tokens), 1)


def _two_segments(
    random: np.random.Generator,
    ids: NDArray[np.int64],
    separator: int,
    spare: Sequences | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cuts `[CLS] text [SEP]` into `[CLS] a [SEP] b [SEP]`; in half of the sequences b is from another one.

    The cut is in the middle half of the sequence: at the end of a paragraph if there is one, else anywhere.
    """
    batch, tokens = ids.shape
    places = np.arange(tokens)
    middle = (places >= tokens // 4) & (places < 3 * tokens // 4)
    ends = (ids == separator) & middle
    wish = np.where(ends, 1.0, np.where(middle, 0.0, -1.0)) + random.random(ids.shape) / 2
    cut = wish.argmax(axis=1)[:, None]  # (B, 1): the place of the [SEP] after a
    order = random.integers(2, size=(batch,))
    if batch == 1 and spare is None:
        order[:] = 0  # there is no other sequence
    ended = np.take_along_axis(ids == separator, cut, axis=1)
    # Where no paragraph ends at the cut, a [SEP] is inserted, and b begins with the token that was there.
    source = np.where(places > cut, places - ~ended, places)  # (B, n)
    source[:, -1] = tokens - 1
    others = np.where(order == 1, (np.arange(batch) + random.integers(1, max(batch, 2), batch)) % batch, 0)
    follows = np.where((order == 1)[:, None] & (places > cut), others[:, None], np.arange(batch)[:, None])
    if batch == 1 and spare is not None:
        ids = np.stack([ids[0], spare.astype(np.int64)])  # (2, n)
        follows = np.where((order == 1)[:, None] & (places > cut), 1, 0)
    paired = ids[follows, source]
    np.put_along_axis(paired, cut, separator, axis=1)
    return paired, np.greater(places, cut).astype(np.int64), order
