"""Attention masks in the shapes that `transformers` passes around."""

import torch
from torch import Tensor

from autobert_zero.errors import UserError


def padding_mask(attention_mask: Tensor, shape: torch.Size) -> Tensor:
    """Finds the real tokens.

    Args:
        attention_mask: (B, n); or (B, n, n) or (B, 1, n, n), in which the row of each real token is the same:
            which tokens it sees. Zeros hide.
        shape: (B, n).

    Returns:
        (B, n) booleans, True at real tokens.

    Raises:
        UserError: It has another shape, or hides other tokens from some tokens than from others, which most
            formulas and convolutions have no place for.
    """
    if attention_mask.shape == shape:
        return attention_mask.bool()
    batch, tokens = shape
    seen = attention_mask
    if seen.shape == (batch, 1, tokens, tokens):
        seen = seen[:, 0]  # (B, n, n)
    if seen.shape != (batch, tokens, tokens) or (seen.is_floating_point() and (seen < 0).any()):
        raise UserError(
            f"attention_mask is {tuple(shape)} as the tokens are, with 1 at real ones, "
            f"not {tuple(attention_mask.shape)}"
        )
    seen = seen.bool()
    real = seen.any(1)  # (B, n)
    if not ((seen == real[:, None]).all(-1) | ~seen.any(-1)).all():
        raise UserError(
            "attention_mask hides other tokens from some tokens than from others; a backbone knows padding "
            f"only: give {tuple(shape)}, 1 at real tokens"
        )
    return real
