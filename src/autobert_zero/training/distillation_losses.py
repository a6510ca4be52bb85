"""The losses of a distillation, each summed over texts or tokens."""

import math

from torch import Tensor
from torch.nn import functional as F


def embedding_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine plus the relative squared error, summed over vectors (T, d)."""
    cosine = F.cosine_similarity(student, teacher, dim=-1)  # (T,)
    return (1 - cosine).sum() + relative_error(student, teacher)


def relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """The squared error over the teacher's square, summed over vectors (..., d)."""
    error, size = (student - teacher).square().sum(-1), teacher.square().sum(-1)  # (...)
    return (error / size.clamp_min(1e-12)).sum()


def state_error(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """The relative squared error of states (T, n, d), in single precision, summed over real tokens (T, n)."""
    # States of padding are unspecified, so they are replaced: at 0 they have no error and no gradient.
    ours, theirs = (states.float().masked_fill(~mask[..., None], 0.0) for states in (student, teacher))
    return relative_error(ours, theirs)


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Divergence of the relations between the tokens of each text, summed over tokens.

    A token's relations are the softmax of its scaled products with all tokens of the text, in each of the
    parts that a state is divided into, so that widths may differ.

    Args:
        student: (T, n, d).
        teacher: (T, n, e).
        mask: (T, n) booleans.
        heads: Divides d and e.
    """
    ours, theirs = (_relations(states, mask, heads) for states in (student, teacher))  # (T, h, n, n)
    divergence = F.kl_div(ours, theirs, reduction="none", log_target=True)
    inside = (mask[:, None, :, None] & mask[:, None, None, :]).expand_as(divergence)  # (T, h, n, n)
    return divergence.masked_fill(~inside, 0.0).sum() / heads


def prediction_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Divergence of the student's predictions from the teacher's, logits (m, v), summed over tokens."""
    ours, theirs = (F.log_softmax(logits / temperature, -1) for logits in (student, teacher))
    return F.kl_div(ours, theirs, reduction="sum", log_target=True) * temperature**2


def _relations(states: Tensor, mask: Tensor, heads: int) -> Tensor:
    """(T, n, d) -> (T, h, n, n) log-probabilities; 0 in the columns of padding."""
    parts = states.unflatten(-1, (heads, -1)).transpose(1, 2)  # (T, h, n, d / h)
    products = parts @ parts.transpose(-1, -2) / math.sqrt(parts.shape[-1])  # (T, h, n, n)
    products = products.masked_fill(~mask[:, None, None, :], -math.inf)
    return F.log_softmax(products, -1).masked_fill(~mask[:, None, None, :], 0.0)
