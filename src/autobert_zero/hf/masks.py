"""Attention masks in the shapes that `transformers` passes around."""

import torch
from torch import Tensor

from autobert_zero.errors import UserError


def padding_mask(attention_mask: Tensor, shape: torch.Size) -> Tensor:
    """Finds the real tokens.

    Args:
        attention_mask: (B, n) or (1, n), also as (B, 1, n) or (B, 1, 1, n); or (B, n, n) or (B, 1, n, n), in
            which the row of each real token is the same: which tokens it sees. Zeros hide.
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
    if seen.dim() == 4 and seen.shape[1] == 1:
        seen = seen[:, 0]  # (B, n, n) or (B, 1, n)
    # A mask that is added has 0 at real tokens, and negative numbers at padding.
    added = seen.is_floating_point() and bool((seen < 0).any() or not seen.any())
    if not added and seen.shape in ((1, tokens), (batch, 1, tokens)):
        return seen.reshape(-1, tokens).bool().expand(batch, tokens)  # (B, n)
    if added or seen.shape != (batch, tokens, tokens):
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
