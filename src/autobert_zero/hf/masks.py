"""Attention masks in the shapes that `transformers` passes around."""

import torch
from torch import Tensor

from autobert_zero.errors import UserError


def padding_mask(attention_mask: Tensor, shape: torch.Size) -> Tensor:
    """Converts an attention mask to one of padding.

    Args:
        attention_mask: Zero at hidden tokens. (B, n), (1, n), (B, 1, n) or (B, 1, 1, n); or (B, n, n) or
            (B, 1, n, n), where each row holds the tokens that one token sees, the same for all real tokens.
        shape: (B, n).

    Returns:
        (B, n) booleans, True at real tokens.

    Raises:
        UserError: The mask has another shape, or does not hide the same tokens from all tokens, which most
            formulas and convolutions cannot represent.
    """
    if attention_mask.shape == shape:
        return attention_mask.bool()
    batch, tokens = shape
    seen = attention_mask
    if seen.dim() == 4 and seen.shape[1] == 1:
        seen = seen[:, 0]  # (B, n, n) or (B, 1, n)
    # A mask to be added to logits has 0 at real tokens and negative numbers at padding.
    added = seen.is_floating_point() and bool((seen < 0).any() or not seen.any())
    if not added and seen.shape in ((1, tokens), (batch, 1, tokens)):
        return seen.reshape(-1, tokens).bool().expand(batch, tokens)  # (B, n)
    if added or seen.shape != (batch, tokens, tokens):
        raise UserError(
            f"attention_mask must have the tokens' shape {tuple(shape)}, with 1 at real tokens, "
            f"not {tuple(attention_mask.shape)}"
        )
    seen = seen.bool()
    real = seen.any(1)  # (B, n)
    if not ((seen == real[:, None]).all(-1) | ~seen.any(-1)).all():
        raise UserError(
            "attention_mask does not hide the same tokens from all tokens; a backbone can only hide padding: "
            f"give a mask {tuple(shape)} with 1 at real tokens"
        )
    return real
