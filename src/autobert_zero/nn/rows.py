"""States of a batch: those of chosen tokens, and the mean over the real tokens."""

from torch import Tensor


def select_rows(x: Tensor, rows: Tensor | None) -> Tensor:
    """Picks tokens.

    Args:
        x: (B, n, d).
        rows: (m,) indices into the flattened (B * n); None picks all.

    Returns:
        (m, d), or (B, n, d) where all are picked.
    """
    return x if rows is None else x.flatten(0, 1).index_select(0, rows)  # (m, d)


def mean_state(states: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over the real tokens; 0 where a row has none.

    Args:
        states: (B, n, d).
        mask: (B, n) booleans, True at real tokens; None where there is no padding.

    Returns:
        (B, d).
    """
    if mask is None:
        return states.mean(1)
    # States of padding are unspecified, so they are replaced, not multiplied by 0.
    real = states.masked_fill(~mask[..., None], 0.0)
    return real.sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
