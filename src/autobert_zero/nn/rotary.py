"""Rotary position embedding (Su et al. 2021): pairs of channels, rotated by angles that grow with position.

Channel i is paired with channel i + d_h / 2 and rotated by position * base^(-2 i / d_h), the convention of
Llama and ModernBERT in `transformers`. With both halves exchanged, y(x), the rotation is

    x * [cos, cos] + y(x) * [-sin, sin]

which is computed for all heads of a token as one row: rows of a few entries are slow on CPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_SHORTEST = 64
"""Positions of the smallest table that is kept."""

_LONGEST = 65536
"""Positions of the largest table that is kept where positions are given: a single one may be any number."""


def rotate(xs: Sequence[Tensor], positions: Tensor | None, base: float) -> tuple[Tensor, ...]:
    """Turns the channels of values of one shape by the angles of their positions.

    Args:
        xs: Values (B, H, n, d_h), d_h even.
        positions: (B, n) or (1, n) integers; None means 0, 1, 2, ...
        base: Sets how fast the angles grow; the pairs rotate by 1 to almost 1 / base per position.

    Returns:
        As many values of the same shape.
    """
    xs = [x.transpose(1, 2) for x in xs]  # (B, n, H, d_h)
    cos, sin = _angles(xs[0], positions, base)
    if torch.compiler.is_compiling():
        rotated = [x * cos + torch.cat(x.chunk(2, -1)[::-1], -1) * sin for x in xs]
    else:
        rotated = _Rotate.apply(cos, sin, 1, *xs)
    return tuple([x.transpose(1, 2) for x in rotated])  # (B, H, n, d_h) each


def _angles(x: Tensor, positions: Tensor | None, base: float) -> tuple[Tensor, Tensor]:
    """[cos, cos] and [-sin, sin] for values (B, n, H, d_h), with broadcast axes of size 1 or left out.

    Tables are kept and used again, except in exported or compiled programs, for fake tensors, for positions
    far beyond any text, and where the host would have to wait for the largest position.
    """
    tokens, heads, width = x.shape[1:]
    recording = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    eager = type(x) is Tensor and not recording
    if positions is None:
        if eager:
            cos, sin = _kept(_rounded_up(tokens), heads, width, base, x.dtype, x.device)
            return cos[:tokens], sin[:tokens]
        return _computed(torch.arange(tokens, device=x.device), width, base, x.dtype)
    if eager and x.device.type == "cpu":
        least, largest = (int(end) for end in positions.aminmax())
        if least >= 0 and largest < _LONGEST:
            cos, sin = _kept(_rounded_up(largest + 1), 1, width, base, x.dtype, x.device)
            return cos[positions], sin[positions]
    return _computed(positions, width, base, x.dtype)


def _computed(positions: Tensor, width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """[cos, cos] and [-sin, sin] at positions of any shape, (..., 1, d_h)."""
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    steps = torch.arange(0, width, 2, device=positions.device, dtype=exact)  # (d_h / 2,)
    angles = positions[..., None, None].to(exact) * base ** (-steps / width)  # (..., 1, d_h / 2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def _rounded_up(tokens: int) -> int:
    """The next power of two: few tables serve every length."""
    return max(_SHORTEST, 1 << (tokens - 1).bit_length())


@lru_cache(maxsize=32)
def _kept(
    tokens: int, heads: int, width: int, base: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The table of the first positions, repeated for each head, (n, H, d_h)."""
    # Not as inference tensors: the next call may train.
    with torch.inference_mode(False), torch.no_grad():
        cos, sin = _computed(torch.arange(tokens, device=device), width, base, dtype)
        return cos.repeat(1, heads, 1), sin.repeat(1, heads, 1)


class _Rotate(torch.autograd.Function):
    """The rotation, or with the sign -1 its inverse, which is its gradient: no value has to be kept."""

    generate_vmap_rule = True

    @staticmethod
    def forward(cos: Tensor, sin: Tensor, sign: int, *xs: Tensor) -> tuple[Tensor, ...]:
        half = cos.shape[-1] // 2
        return tuple([(x * cos).addcmul_(x.roll(half, -1), sin, value=sign) for x in xs])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        cos, sin, ctx.sign, *_ = inputs
        ctx.save_for_backward(cos, sin)

    @staticmethod
    def backward(ctx: Any, *grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *_Rotate.apply(*ctx.saved_tensors, -ctx.sign, *grad_output)
