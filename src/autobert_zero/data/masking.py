"""Masked language modelling batches (BERT): 15 % of the tokens, 80 / 10 / 10, drawn again each time."""

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
"""Tokens of a word that is masked whole even where that is more than 15 % of its sequence."""


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs to know of a tokenizer.

    Attributes:
        size: Number of token ids.
        mask: Id of `[MASK]`.
        separator: Id of `[SEP]`, which ends a document.
        never: Ids that are never masked, and so never count in a loss: `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`.
        continues: Ids of pieces that continue a word wherever they are (`##ing`); empty where ids do not
            tell, see `Masking.needs_marks`.
    """

    size: int
    mask: int
    separator: int
    never: tuple[int, ...]
    continues: frozenset[int] = frozenset()

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Vocabulary":
        """Reads it off a tokenizer with BERT's special tokens."""
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
    """How packed sequences become a batch.

    Attributes:
        whole_words: Mask all pieces of a word or none.
        next_sentence: Cut each sequence in two segments, and replace the second of half of them.
        isolated: Documents of a sequence do not see each other, and each has positions from 0.
    """

    whole_words: bool = False
    next_sentence: bool = False
    isolated: bool = False

    def needs_marks(self, vocabulary: Vocabulary) -> bool:
        """Whether tokens that continue a word have to be marked when text is packed (`tokenise_batches`)."""
        return self.whole_words and not vocabulary.continues


@dataclass(frozen=True)
class MaskedBatch:
    """One step's input.

    Attributes:
        ids: (B, n) token ids, masked.
        rows: (m,) indices into B * n of the tokens to predict; m is the same for every full batch, but with
            whole words.
        labels: (m,) the tokens to predict.
        segments: (B, n) segment ids; None where all is one segment.
        order: (B,) 0 where the second segment follows the first, else 1; None without segments.
        starts: (B, n) booleans, True where a document starts; None where all is one.
    """

    ids: Tensor
    rows: Tensor
    labels: Tensor
    segments: Tensor | None = None
    order: Tensor | None = None
    starts: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, stop: int) -> "MaskedBatch":
        """Some of the sequences."""
        tokens = self.ids.shape[1]
        inside = (self.rows >= start * tokens) & (self.rows < stop * tokens)
        rows, labels = self.rows[inside] - start * tokens, self.labels[inside]
        rest = (
            None if each is None else each[start:stop] for each in (self.segments, self.order, self.starts)
        )
        return MaskedBatch(self.ids[start:stop], rows, labels, *rest)

    def cut(self, length: int) -> "MaskedBatch":
        """The same tokens in shorter sequences, which do not see each other.

        Args:
            length: Tokens in each; divides n.

        Raises:
            ValueError: The batch has segments or documents, whose bounds the cuts would not respect.
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
        random: The source of every choice.
        rows: (B, n) token ids, as `tokenise_batches` packs them.
        vocabulary: The tokenizer's.
        masking: How; None is BERT's masking without next sentences.
        spare: (n,) ids of another sequence: the second segment of a batch of one, where it does not follow.
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
    tensors = (None if each is None else torch.from_numpy(each) for each in (segments, order, starts))
    return MaskedBatch(*map(torch.from_numpy, (ids, positions, labels)), *tensors)


def _choose_tokens(random: np.random.Generator, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """15 % of the tokens of each sequence, as sorted indices into B * n."""
    batch, tokens = allowed.shape
    # The smallest of random numbers are a uniform choice; what must not be masked comes last.
    drawn = np.where(allowed, random.random(allowed.shape), 2.0)
    order = np.argsort(drawn, axis=1)[:, : _masked_count(tokens)]  # (B, count)
    positions = (order + np.arange(batch)[:, None] * tokens).reshape(-1)  # (B * count,)
    return np.sort(positions[allowed.reshape(-1)[positions]])


def _choose_words(
    random: np.random.Generator, continues: NDArray[np.bool_], allowed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Words until 15 % of the tokens of each sequence are reached, as sorted indices into B * n.

    Tokens of runs longer than that, than 16 and than half of the sequence are masked one by one: in a script
    without spaces, or in a sequence of nucleotides, they are no words.
    """
    batch, tokens = allowed.shape
    begins = ~continues | ~allowed
    begins[:, 0] = True
    run = np.cumsum(begins).reshape(batch, tokens) - 1  # numbered over all rows
    begins |= np.bincount(run.reshape(-1))[run] > max(_masked_count(tokens), min(_LONGEST_WORD, tokens // 2))
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
    """Cuts `[CLS] text [SEP]` into `[CLS] a [SEP] b [SEP]`; in half of the sequences b is another's.

    The cut is after a paragraph of the middle half of the sequence where one ends there, else anywhere in it.
    """
    batch, tokens = ids.shape
    places = np.arange(tokens)
    middle = (places >= tokens // 4) & (places < 3 * tokens // 4)
    ends = (ids == separator) & middle
    wish = np.where(ends, 1.0, np.where(middle, 0.0, -1.0)) + random.random(ids.shape) / 2
    cut = wish.argmax(axis=1)[:, None]  # (B, 1): where the [SEP] after a is
    order = random.integers(2, size=(batch,))
    if batch == 1 and spare is None:
        order[:] = 0  # there is no other sequence
    ended = np.take_along_axis(ids == separator, cut, axis=1)
    # Where no paragraph ends at the cut, the [SEP] is put in, and b begins with the token that was there.
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
