"""The lightweight convolution of Wu et al. 2019: GLU, a softmax-normalised kernel per head, projection."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero.nn.documents import Documents
from autobert_zero.nn.rows import select_rows

_SHORT = 128
"""Longest sequence that one band matrix computes; a longer one is cut into blocks."""


class LightConvolution(nn.Module):
    """Depth-wise convolution over tokens; all channels of a head share one kernel that sums to 1.

    Args:
        kernel: Odd kernel size k.
        width: d.
        heads: H; divides d.
        bias: Whether the projections have biases.
    """

    def __init__(self, kernel: int, width: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 2 * width, bias=bias)
        self.kernel = nn.Parameter(torch.empty(heads, kernel))
        self.output = nn.Linear(width, width, bias=bias)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        documents: Documents | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Mixes tokens and projects the result.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.
            documents: The documents of packed sequences, each mixed as if it were alone; None mixes whole
                sequences.
            rows: (m,) indices into the flattened (B * n): the only tokens to project, since the projection
                treats each token alone. None projects all.

        Returns:
            (B, n, d), or (m, d) for the chosen rows.
        """
        mixed = self._mix(x, mask) if documents is None else documents.apart(self._mix, x)
        return self.output(select_rows(mixed, rows))

    def _mix(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, n, d) and a mask to (B, n, d): all but the last projection."""
        gated = F.glu(self.projection(x), dim=-1)
        if mask is not None:
            gated = gated.masked_fill(~mask[:, :, None], 0.0)
        return convolve(gated, self.kernel.softmax(-1))


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlates every channel with its head's kernel, zero-padded at both ends.

    Args:
        x: (B, n, d).
        kernel: (H, k), k odd.

    Returns:
        (B, n, d).
    """
    kernel = kernel.to(x.dtype)
    if torch.compiler.is_exporting():
        # One operation that other runtimes know; a program has no length to choose by.
        return _depthwise(x, kernel)
    # Chosen by benchmarks/convolution.py on CPU, forward and backward.
    shifted_up_to = 5 if x.shape[1] <= _SHORT else 9
    algorithm = _shifted_sum if kernel.shape[-1] <= shifted_up_to else _banded_product
    return algorithm(x, kernel)


def _depthwise(x: Tensor, kernel: Tensor) -> Tensor:
    """PyTorch's own convolution."""
    width = x.shape[-1]
    heads, size = kernel.shape
    weight = kernel.repeat_interleave(width // heads, 0)[:, None]  # (d, 1, k)
    return F.conv1d(x.mT, weight, padding=size // 2, groups=width).mT


def _shifted_sum(x: Tensor, kernel: Tensor) -> Tensor:
    """k multiply-adds over the sequence."""
    tokens, width = x.shape[1:]
    heads, size = kernel.shape
    weight = kernel.t().repeat_interleave(width // heads, 1)  # (k, d)
    padded = F.pad(x, (0, 0, size // 2, size // 2))
    result = padded[:, :tokens] * weight[0]
    for offset in range(1, size):
        result = torch.addcmul(result, padded[:, offset : offset + tokens], weight[offset])
    return result


def _banded_product(x: Tensor, kernel: Tensor) -> Tensor:
    """One small band matrix per head, applied to blocks of the sequence: linear in its length."""
    batch, tokens, width = x.shape
    heads, size = kernel.shape
    block = tokens
    if tokens > _SHORT:  # small blocks waste less, large ones suit the units for half precision
        block = 64 if x.dtype == torch.float32 else 128
    blocks = -(-tokens // block)
    span = block + size - 1
    # Rows of period block + size read at a stride one shorter move the kernel by one each row.
    band = F.pad(kernel, (0, block)).repeat(1, block)[:, : block * span].view(heads, block, span)
    if blocks == 1:
        band = band[:, :, size // 2 : size // 2 + tokens]  # (H, n, n): without the padding's columns
        mixed = torch.einsum("hts,bshc->bthc", band, x.unflatten(2, (heads, width // heads)))
        return mixed.flatten(2)
    padded = F.pad(x, (0, 0, size // 2, size // 2 + blocks * block - tokens))
    # (B, blocks, d, span) -> (B, blocks, H, d_h, span)
    windows = padded.unfold(1, span, block).unflatten(2, (heads, width // heads))
    mixed = torch.einsum("hts,bnhcs->bnthc", band, windows)  # (B, blocks, block, H, d_h)
    return mixed.reshape(batch, blocks * block, width)[:, :tokens]
