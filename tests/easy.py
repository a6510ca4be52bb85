"""A language that is easy to learn: a sequence says the same word again and again."""

from pathlib import Path

import numpy as np

from autobert_zero.data.masking import Vocabulary
from autobert_zero.data.splits import Splits, split

LENGTH = 16
SIZE = 25
VOCABULARY = Vocabulary(SIZE, mask=4, separator=3, never=(0, 2, 3))


def written(path: Path) -> Splits:
    """Two hundred sequences, in a file."""
    rows = np.repeat(np.random.default_rng(0).integers(5, SIZE, (200, 1)), LENGTH, axis=1)
    rows[:, 0], rows[:, -1] = 2, 3
    np.save(path, rows.astype(np.uint16))
    return split(path)
