"""Masked batches of packed sequences, for training and for evaluation."""

from collections.abc import Iterator

import numpy as np

from autobert_zero.data.masking import MaskedBatch, Masking, Vocabulary, mask_batch
from autobert_zero.data.splits import Sequences, Split, spread

_MASKS, _ORDER = 0, 1
"""Streams of random numbers: for the masks of a step, and for the order of an epoch."""


class TrainingBatches:
    """Endless masked batches: shuffled epochs over the sequences, in full batches.

    The batch of a step is a function of the seed and the step, so training can continue anywhere.

    Args:
        part: The sequences, at least `batch_size`.
        vocabulary: Vocabulary of the tokenizer.
        batch_size: B.
        seed: Seed of order and masks.
        masking: How sequences become a batch.

    Raises:
        ValueError: There are fewer sequences than one batch.
    """

    def __init__(
        self,
        part: Split,
        vocabulary: Vocabulary,
        batch_size: int,
        seed: tuple[int, ...],
        masking: Masking | None = None,
    ) -> None:
        if len(part) < batch_size:
            raise ValueError(f"{len(part)} training sequences are fewer than one batch of {batch_size}")
        self._part = part
        self._vocabulary = vocabulary
        self._size = batch_size
        self._seed = seed
        self._masking = masking

    def batches_from(self, step: int) -> Iterator[MaskedBatch]:
        """Yields the batches from a step on, counted from 0."""
        per_epoch = len(self._part) // self._size
        order, current = np.empty(0, dtype=np.int64), -1
        while True:
            epoch, place = divmod(step, per_epoch)
            if epoch != current:
                current = epoch
                order = np.random.default_rng((*self._seed, _ORDER, epoch)).permutation(len(self._part))
            chosen = np.sort(order[place * self._size : (place + 1) * self._size])
            random = np.random.default_rng((*self._seed, _MASKS, step))
            following = order[(place + 1) * self._size % len(order)]
            spare = self._part.take(following[None])[0] if self._size == 1 < len(order) else None
            yield mask_batch(random, self._part.take(chosen), self._vocabulary, self._masking, spare)
            step += 1


def training_batches(
    part: Split, vocabulary: Vocabulary, batch_size: int, seed: tuple[int, ...]
) -> Iterator[MaskedBatch]:
    """The batches of `TrainingBatches` from the first step on."""
    return TrainingBatches(part, vocabulary, batch_size, seed).batches_from(0)


def evaluation_batches(
    part: Split, vocabulary: Vocabulary, batch_size: int, limit: int, masking: Masking | None = None
) -> list[MaskedBatch]:
    """Masks up to `limit` sequences, spread evenly over all, the same way every time."""
    return batches_of(part.take(spread(len(part), limit)), vocabulary, batch_size, masking)


def batches_of(
    rows: Sequences, vocabulary: Vocabulary, batch_size: int, masking: Masking | None = None
) -> list[MaskedBatch]:
    """Masks sequences (N, n), the same way every time; the last batch may be smaller."""
    random = np.random.default_rng(0)
    return [
        mask_batch(
            random,
            rows[start : start + batch_size],
            vocabulary,
            masking,
            rows[(start + batch_size) % len(rows)] if len(rows) > 1 else None,
        )
        for start in range(0, len(rows), batch_size)
    ]
