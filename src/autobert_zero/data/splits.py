"""The sequences of a corpus on disk, split into training, validation and held-out text."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sequences = NDArray[np.unsignedinteger[Any]]

_HELD_OUT_EVERY = 20

_LONGEST_BLOCK = 32


@dataclass(frozen=True)
class Split:
    """Some of the sequences of a file, read from disk when taken.

    Attributes:
        path: A `.npy` file of (N, n) token ids.
        rows: Indices of the sequences, in order.
    """

    path: Path
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: NDArray[np.int64] | slice) -> Sequences:
        """The sequences at these indices of the split, (len(indices), n)."""
        return np.asarray(open_sequences(self.path)[self.rows[indices]])


@dataclass(frozen=True)
class Splits:
    """Disjoint parts of a corpus.

    Attributes:
        train: 90 %, for training.
        validation: 5 %, which scores candidates and chooses the winner.
        holdout: 5 %, for the final figures only.
    """

    train: Split
    validation: Split
    holdout: Split


@cache
def open_sequences(path: Path) -> Sequences:
    """The (N, n) token ids of a file, memory-mapped."""
    return np.load(path, mmap_mode="r")


def spread(count: int, limit: int) -> NDArray[np.int64]:
    """Up to `limit` different indices of `count` rows, evenly spaced from the first to the last."""
    chosen = min(count, limit)
    return np.arange(chosen) * (count - 1) // max(chosen - 1, 1)  # exact, where np.linspace rounds


def split(path: Path) -> Splits:
    """Splits by blocks of neighbouring sequences, spread over the whole corpus.

    The end of the corpus would be another book; single sequences would continue the training text.
    """
    count = len(open_sequences(path))
    block = min(max(count // (20 * _HELD_OUT_EVERY), 1), _LONGEST_BLOCK)
    position = np.arange(count) // block % _HELD_OUT_EVERY
    validation, holdout = position == _HELD_OUT_EVERY // 2, position == _HELD_OUT_EVERY - 1
    chosen = (~(validation | holdout), validation, holdout)
    return Splits(*(Split(path, np.flatnonzero(where)) for where in chosen))
