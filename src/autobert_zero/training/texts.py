"""The texts of packed batches, and an encoder's states of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn.documents import layout
from autobert_zero.nn.encoder import Encoder, run_layers
from autobert_zero.nn.rows import mean_state

SHORTEST = 4
"""Minimum tokens of a text that is compared, special tokens included: remainders of packing are no texts."""


@dataclass(frozen=True)
class Texts:
    """Texts of similar lengths.

    Attributes:
        ids: (T, n) token ids, `[CLS]` first.
        mask: (T, n) booleans, True at real tokens.
        places: (T,) index of each among the texts of the batch.
    """

    ids: Tensor
    mask: Tensor
    places: Tensor


@dataclass(frozen=True)
class View:
    """A model's states of texts of similar lengths.

    Attributes:
        pooled: (T, d) means of the last states, in single precision; for a student, projected to the
            teacher's width.
        last: (T, n, d) last states.
        layers: States after every layer, (T, n, d) each, for a student projected; empty unless asked for.
    """

    pooled: Tensor
    last: Tensor
    layers: list[Tensor]


def unmasked(batch: MaskedBatch) -> Tensor:
    """The original ids (B, n) of a masked batch."""
    ids = batch.ids.flatten().clone()  # (B * n,)
    ids[batch.rows] = batch.labels
    return ids.view(batch.ids.shape)  # (B, n)


def text_starts(batch: MaskedBatch) -> Tensor:
    """Booleans (B, n), True where a text begins: a document if they are isolated, else a sequence."""
    if batch.starts is not None:
        return batch.starts
    starts = torch.zeros_like(batch.ids, dtype=torch.bool)
    starts[:, 0] = True
    return starts


def texts_of(batch: MaskedBatch, cls_id: int) -> list[Texts]:
    """The original texts of a masked batch.

    Args:
        batch: Packed sequences; a text is a document if they are isolated, else a sequence.
        cls_id: Id of `[CLS]`, put before documents that lack it.

    Returns:
        Groups of similar lengths; texts are padded to at most twice the shortest, except in the first group.
    """
    ids = unmasked(batch)  # (B, n)
    if batch.starts is None:
        return [Texts(ids, torch.ones_like(ids, dtype=torch.bool), torch.arange(len(ids)))]
    _, documents = layout(batch.starts)
    numbers = batch.starts.flatten().cumsum(0) - 1  # (B * n,)
    groups, first = [], 0
    for real in documents.real:
        tokens = documents.tokens[first : first + real.numel()]
        first += real.numel()
        rows = ids.flatten()[tokens].view(real.shape)  # (documents, longest)
        begun = rows[:, 0] == cls_id
        rows, mask = (
            torch.cat([front, rest], dim=1)
            for front, rest in ((torch.full_like(rows[:, :1], cls_id), rows), (real[:, :1], real))
        )
        # Where the document has its own [CLS], everything moves one place to the left.
        rows = torch.where(begun[:, None], rows.roll(-1, 1), rows)
        mask = torch.where(begun[:, None], mask.roll(-1, 1), mask)
        mask[begun, -1] = False
        kept = mask.sum(1) >= SHORTEST
        if kept.any():
            longest = int(mask.sum(1).max())
            rows, mask = rows[kept, :longest], mask[kept, :longest]
            firsts = tokens.view(real.shape)[kept, 0]  # (kept documents,)
            groups.append(Texts(rows.masked_fill(~mask, 0), mask, numbers[firsts]))
    return groups


def first_sequence(batch: MaskedBatch) -> Texts:
    """The first sequence of a batch as a text, for a batch without a document that is long enough."""
    ids = unmasked(batch)[:1]  # (1, n)
    return Texts(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros(1, dtype=torch.long))


def view_of(encoder: Encoder, ids: Tensor, mask: Tensor, every: bool) -> View:
    """Encodes texts (T, n), with or without the states after every layer."""
    states: list[Tensor] = []
    x = run_layers(
        encoder.layers,
        encoder.embeddings(ids),
        mask,
        checkpointing=encoder.checkpointing and encoder.training,
        states=states if every else None,
    )
    last = encoder.final_norm(x)
    return View(mean_state(last.float(), mask), last, states)
