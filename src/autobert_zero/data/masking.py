"""Masked language modelling batches (BERT): 15 % of the tokens, 80 / 10 / 10, drawn anew each time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from autobert_zero.data.packing import Part, Sequences

MASKED_SHARE = 0.15


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs to know of a tokenizer.

    Attributes:
        size: Number of token ids.
        mask: Id of `[MASK]`.
        never: Ids that are never masked: `[PAD]`, `[CLS]`, `[SEP]`.
    """

    size: int
    mask: int
    never: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Vocabulary":
        """Reads it off a tokenizer with BERT's special tokens."""
        vocabulary = tokenizer.get_vocab()
        never = tuple(vocabulary[token] for token in ("[PAD]", "[CLS]", "[SEP]"))
        return cls(max(vocabulary.values()) + 1, vocabulary["[MASK]"], never)


@dataclass(frozen=True)
class MaskedBatch:
    """One step's input.

    Attributes:
        ids: (B, n) token ids, masked.
        positions: (m,) indices into B * n of the tokens to predict; m is the same for every full batch.
        labels: (m,) the tokens to predict.
    """

    ids: Tensor
    positions: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "MaskedBatch":
        """Moves the batch to a device."""
        return MaskedBatch(self.ids.to(device), self.positions.to(device), self.labels.to(device))


def mask_batch(random: np.random.Generator, rows: Sequences, vocabulary: Vocabulary) -> MaskedBatch:
    """Masks a batch of packed sequences.

    Args:
        random: The source of every choice.
        rows: (B, n) token ids.
        vocabulary: The tokenizer's.
    """
    ids: NDArray[np.int64] = rows.astype(np.int64)
    allowed = ~np.isin(ids, vocabulary.never)
    count = max(round(MASKED_SHARE * ids.shape[1]), 1)
    # The `count` smallest of random numbers are a uniform choice; what must not be masked comes last.
    order = np.argsort(np.where(allowed, random.random(ids.shape), 2.0), axis=1)[:, :count]  # (B, count)
    positions = (order + np.arange(len(ids))[:, None] * ids.shape[1]).reshape(-1)  # (B * count,)
    positions = np.sort(positions[allowed.reshape(-1)[positions]])
    flat = ids.reshape(-1)  # (B * n,), a view
    labels = flat[positions]
    kind = random.random(len(positions))
    flat[positions[kind < 0.8]] = vocabulary.mask
    swapped = positions[kind >= 0.9]
    flat[swapped] = random.integers(vocabulary.size, size=len(swapped))
    return MaskedBatch(torch.from_numpy(ids), torch.from_numpy(positions), torch.from_numpy(labels))


def training_batches(
    part: Part, vocabulary: Vocabulary, batch_size: int, seed: tuple[int, ...]
) -> Iterator[MaskedBatch]:
    """Yields masked batches without end: shuffled passes over the sequences, in full batches.

    Args:
        part: At least `batch_size` sequences.
        vocabulary: The tokenizer's.
        batch_size: B.
        seed: The stream is a function of it.

    Raises:
        ValueError: There are fewer sequences than one batch.
    """
    if len(part) < batch_size:
        raise ValueError(f"{len(part)} training sequences are fewer than one batch of {batch_size}")
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(part))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            yield mask_batch(random, part.take(np.sort(order[start : start + batch_size])), vocabulary)


def evaluation_batches(part: Part, vocabulary: Vocabulary, batch_size: int, most: int) -> list[MaskedBatch]:
    """Masks up to `most` sequences, spread over all, the same way every time."""
    chosen = part.take(np.arange(len(part))[:: max(len(part) // most, 1)][:most])
    random = np.random.default_rng(0)
    return [
        mask_batch(random, chosen[start : start + batch_size], vocabulary)
        for start in range(0, len(chosen), batch_size)
    ]
