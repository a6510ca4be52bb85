"""The layout of documents in packed sequences, so that each is mixed as if it were alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_LEAST_DOCUMENTS = 2
"""`torch.compile` makes graphs of their own for sizes 0 and 1."""
_GROUPS = 4
"""Groups of documents: each is padded to at most twice the length of its shortest, but the first."""


@dataclass(frozen=True)
class Documents:
    """The documents of a batch of packed sequences, laid out as padded rows in groups of similar length.

    Attributes:
        real: For each group, (documents, longest) booleans, True where there is a token; in a document that
            only fills a group up, at its first place.
        tokens: (padded,) the token, an index into B * n, at each place of all groups one after the other.
        places: (B * n,) the place of each token.
        filled: (padded,) booleans, True at the places of tokens.
    """

    real: tuple[Tensor, ...]
    tokens: Tensor
    places: Tensor
    filled: Tensor

    def mix_within(self, mix: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
        """Mixes each document as if it were alone: exact for every graph and kernel, since padding is.

        Args:
            mix: From (documents, longest, d) and the mask of the same group to (documents, longest, d).
            x: (B, n, d).

        Returns:
            (B, n, d).
        """
        rows: Tensor = _LayOut.apply(x.flatten(0, 1), self.tokens, self.places)  # (padded, d)
        groups = rows.split([real.numel() for real in self.real])
        mixed = [
            mix(group.view(*real.shape, -1), real).flatten(0, 1)  # (documents * longest, d)
            for group, real in zip(groups, self.real, strict=True)
        ]
        packed: Tensor = _Pack.apply(torch.cat(mixed), self.tokens, self.places, self.filled)  # (B * n, d)
        return packed.view(x.shape)  # (B, n, d)


class _LayOut(torch.autograd.Function):
    """From tokens to places. What flows back to padding is 0, so a token's gradient is that of its place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return x.index_select(0, tokens)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return grad_output.index_select(0, places), None, None


class _Pack(torch.autograd.Function):
    """From places to tokens."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tokens: Tensor, places: Tensor, real: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, real)
        return x.index_select(0, places)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        tokens, real = ctx.saved_tensors
        return grad_output.index_select(0, tokens).masked_fill_(~real[:, None], 0.0), None, None, None


def layout(starts: Tensor, fixed: bool = False) -> tuple[Tensor, Documents]:
    """Finds the documents.

    Args:
        starts: (B, n) booleans on the CPU, True where a document starts; the first of each row is True.
        fixed: Whether n alone decides the number of groups and their lengths, and each has two documents or
            more, so that one compiled graph serves all batches; see `mark_counts`. Takes more padding.

    Returns:
        The position of each token in its document, (B, n), and the documents.
    """
    flat = starts.flatten()  # (B * n,)
    first = flat.nonzero()[:, 0]  # (documents,)
    lengths = torch.diff(first, append=torch.tensor([len(flat)]))
    positions = torch.arange(len(flat)) - first.repeat_interleave(lengths)  # (B * n,)
    indices, masks, filled = [], [], []
    below, tokens = 0, starts.shape[1]
    for shift in reversed(range(_GROUPS)):
        limit = tokens >> shift
        chosen = (lengths > below) & (lengths <= limit)
        below = limit
        if not limit or not (fixed or chosen.any()):
            continue
        place = torch.arange(limit if fixed else int(lengths[chosen].max()))  # (longest,)
        real = place < lengths[chosen, None]  # (documents, longest)
        index = first[chosen, None] + place * real  # (documents, longest)
        spare = max(_LEAST_DOCUMENTS - len(real), 0) if fixed else 0
        index, real = (F.pad(tensor, (0, 0, 0, spare)) for tensor in (index, real))
        filled.append(real.flatten())  # (documents * longest,)
        if spare:  # a row without any real place would be NaN
            real = real.clone()
            real[-spare:, 0] = True
        masks.append(real)
        indices.append(index.flatten())  # (documents * longest,)
    tokens_at, filled_at = torch.cat(indices), torch.cat(filled)
    places = torch.empty_like(positions)
    places[tokens_at[filled_at]] = filled_at.nonzero()[:, 0]
    documents = Documents(tuple(masks), tokens_at, places, filled_at)
    return positions.view(starts.shape), documents  # (B, n)


def mark_counts(documents: Documents) -> None:
    """Marks the numbers of documents as differing from batch to batch, for `torch.compile`."""
    for tensor in (*documents.real, documents.tokens, documents.filled):
        torch._dynamo.maybe_mark_dynamic(tensor, 0)  # noqa: SLF001
