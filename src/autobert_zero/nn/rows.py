"""The tokens of a batch whose states are wanted."""

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
