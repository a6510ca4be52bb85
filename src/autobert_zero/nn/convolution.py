"""The lightweight convolution of Wu et al. 2019: GLU, a softmax-normalised kernel per head, projection."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero.nn.documents import Documents
from autobert_zero.nn.rows import select_rows

_SHORT = 128
"""Longest sequence that one band matrix computes; a longer one is cut into blocks."""

FUSED: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {}
"""Kernels for CUDA cards that compute all of `open_and_convolve`, by name; those of `fused_convolution`."""


@dataclass(frozen=True)
class FormChoice:
    """Which form of the convolution is fast for some sizes.

    Attributes:
        form: A name in `CONVOLUTIONS` or `FUSED`.
        kernel: Largest kernel size k; None for any.
        tokens: Longest sequence n; None for any.
        width: Largest width d; None for any.
    """

    form: str
    kernel: int | None = None
    tokens: int | None = None
    width: int | None = None

    def covers(self, kernel: int, tokens: int, width: int) -> bool:
        """Whether sizes are within the limits."""
        limits = ((kernel, self.kernel), (tokens, self.tokens), (width, self.width))
        return all(limit is None or size <= limit for size, limit in limits)


# Written by benchmarks/convolution.py, forward and backward. No card has measured those for CUDA yet: a band
# product takes the same few operations whatever the kernel size, where shifted sums take more with each tap.
CHOICES: dict[str, tuple[FormChoice, ...]] = {
    "cpu": (
        FormChoice("shifted_sum", kernel=5),
        FormChoice("banded_product", tokens=_SHORT),
        FormChoice("shifted_sum", kernel=9),
    ),
    "cuda": (),
    "cuda compiled": (),
}
"""By device: the first choice that covers the sizes counts, else a band product is computed."""


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
            documents: As in `EncoderLayer`.
            rows: As in `EncoderLayer`.

        Returns:
            (B, n, d), or (m, d) for the chosen rows.
        """
        mixed = self._mix(x, mask) if documents is None else documents.mix_within(self._mix, x)
        return self.output(select_rows(mixed, rows))

    def _mix(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, n, d) and a mask to (B, n, d): all but the last projection."""
        return open_and_convolve(self.projection(x), self.kernel.softmax(-1), mask)


def open_and_convolve(projected: Tensor, kernel: Tensor, mask: Tensor | None = None) -> Tensor:
    """Opens gates, and correlates every channel with its head's kernel.

    Args:
        projected: (B, n, 2 d): values, then their gates before the sigmoid.
        kernel: (H, k), k odd.
        mask: (B, n) booleans, True at real tokens; None where there is no padding.

    Returns:
        (B, n, d).
    """
    _, tokens, width = projected.shape
    fused = FUSED.get(_form(projected, kernel, tokens, width // 2))
    if fused is not None and projected.dtype.itemsize == 2:  # what tensor cores multiply
        return fused(projected, kernel, mask)
    gated = F.glu(projected, dim=-1)
    if mask is not None:
        gated = gated.masked_fill(~mask[:, :, None], 0.0)
    return convolve(gated, kernel)


def _form(x: Tensor, kernel: Tensor, tokens: int, width: int) -> str:
    """The name of the form to compute."""
    if torch.compiler.is_exporting():
        # One operation that other runtimes know; a program has no length to choose by.
        return "depthwise"
    device = x.device.type
    if device == "cuda" and torch.compiler.is_compiling():
        device = "cuda compiled"
    choices = (
        choice.form for choice in CHOICES.get(device, ()) if choice.covers(kernel.shape[-1], tokens, width)
    )
    return next(choices, "banded_product")


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlates every channel with its head's kernel, zero-padded at both ends.

    Args:
        x: (B, n, d).
        kernel: (H, k), k odd.

    Returns:
        (B, n, d).
    """
    form = _form(x, kernel, x.shape[1], x.shape[2])
    # A form of `FUSED` may be missing here.
    return CONVOLUTIONS.get(form, _banded_product)(x, kernel.to(x.dtype))


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
    rows = F.pad(kernel, (0, block)).repeat(1, block)[:, : block * span]  # (H, block * span)
    band = rows.view(heads, block, span)  # (H, block, span)
    if blocks == 1:
        band = band[:, :, size // 2 : size // 2 + tokens]  # (H, n, n): without the padding's columns
        by_head = x.unflatten(2, (heads, width // heads))  # (B, n, H, d_h)
        return torch.einsum("hts,bshc->bthc", band, by_head).flatten(2)  # (B, n, d)
    padded = F.pad(x, (0, 0, size // 2, size // 2 + blocks * block - tokens))
    # (B, blocks, d, span) -> (B, blocks, H, d_h, span)
    windows = padded.unfold(1, span, block).unflatten(2, (heads, width // heads))
    mixed = torch.einsum("hts,bnhcs->bnthc", band, windows)  # (B, blocks, block, H, d_h)
    return mixed.reshape(batch, blocks * block, width)[:, :tokens]  # (B, n, d)


CONVOLUTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "depthwise": _depthwise,
    "shifted_sum": _shifted_sum,
    "banded_product": _banded_product,
}
"""Forms of `convolve` by name."""
