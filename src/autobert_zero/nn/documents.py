"""Where the documents of packed sequences lie, so that each can be mixed as if it were alone."""

import torch
from torch import Tensor

from autobert_zero.nn.encoder import Documents

_GROUPS = 4
"""Groups of documents: each is padded to at most twice the length of its shortest, but the first."""


def layout(starts: Tensor) -> tuple[Tensor, Documents]:
    """Finds the documents.

    Args:
        starts: (B, n) booleans on the CPU, True where a document starts; the first of each row is True.

    Returns:
        The position of each token in its document, (B, n), and the documents in groups of like length.
    """
    flat = starts.flatten()  # (B * n,)
    first = flat.nonzero()[:, 0]  # (documents,)
    lengths = torch.diff(first, append=torch.tensor([len(flat)]))
    positions = torch.arange(len(flat)) - first.repeat_interleave(lengths)
    groups = []
    below, tokens = 0, starts.shape[1]
    for shift in reversed(range(_GROUPS)):
        most = tokens >> shift
        chosen = (lengths > below) & (lengths <= most)
        below = most
        if not chosen.any():
            continue
        place = torch.arange(int(lengths[chosen].max()))  # (longest,)
        real = place < lengths[chosen, None]  # (documents, longest)
        groups.append((first[chosen, None] + place * real, real))
    return positions.view(starts.shape), groups
