"""Divides the tokenisation of a block of text over processes that train together."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import distributed

from autobert_zero.data.packing import tokenise_batches
from autobert_zero.data.splits import Sequences

SHARE = 1250
"""Number of documents that are packed together. It does not depend on the number of processes, so neither do
the sequences; the remainder of a share is dropped."""

TIMEOUT = timedelta(hours=12)
"""Timeout of processes that wait for each other, since one may read or tokenise a slow corpus."""


def tokenise_together(
    texts: Sequence[str], tokenizer: Tokenizer, length: int, words: bool = False
) -> Sequences:
    """Packs documents into sequences (N, length) like `tokenise_batches`, the same in every process.

    Processes that train together all have to call it with the same texts.
    """
    shares = [list(texts[start : start + SHARE]) for start in range(0, len(texts), SHARE)]
    together = distributed.is_available() and distributed.is_initialized()
    rank, processes = (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)
    own = {
        number: tokenise_batches([share], tokenizer, length, words)
        for number, share in enumerate(shares)
        if number % processes == rank
    }
    if processes == 1:
        return np.concatenate([own[number] for number in range(len(shares))])
    counts = torch.zeros(len(shares), dtype=torch.int64)
    for number, rows in own.items():
        counts[number] = len(rows)
    distributed.all_reduce(counts, group=_group_for_text())
    ends = counts.cumsum(0).tolist()
    # Every process fills in its own rows; the sum over all processes then has all rows.
    gathered = torch.zeros((ends[-1], length), dtype=torch.int64)  # (N, n)
    for number, rows in own.items():
        gathered[ends[number] - len(rows) : ends[number]] = torch.from_numpy(rows.astype(np.int64))
    distributed.all_reduce(gathered, group=_group_for_text())
    kind = tokenise_batches([], tokenizer, length, words).dtype
    return gathered.numpy().astype(kind)


@cache
def _group_for_text() -> "distributed.ProcessGroup":
    """A group of all processes besides the one that exchanges gradients.

    When batches are prepared ahead, a thread tokenises while gradients are exchanged; in a single group,
    processes might start the two in different orders.
    """
    return distributed.new_group(backend="gloo", timeout=TIMEOUT)
