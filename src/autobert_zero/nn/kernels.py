"""Kernels: the computation of each primitive on padded batches, under the name of the primitive.

Axes: B batch, H heads, n tokens, d_h head dimension. A value of symbolic type (r, c) is a tensor
(B, H, r, c). Padding is exact because whatever reduces over the token axis masks it, and nothing else
does: which axis is the token axis is known from the type.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.encoder_config import ROTARY_BASE
from autobert_zero.nn.rotary import rotate
from autobert_zero.space.types import Type
from autobert_zero.tf32 import rounds_to_tf32

_EPSILON = 1e-12


@dataclass(frozen=True)
class Context:
    """Inputs of kernels besides their operands.

    Attributes:
        head_dim: d_h, for `scale` and `amplify`.
        mask: (B, n) booleans, True at real tokens; None where there is no padding.
        positions: (B, n) or (1, n) positions of the tokens; None means 0, 1, 2, ...
        rotary_base: Base of the angles of `rotary`.
        finite: Whether padding is known to hold finite numbers, which spares compiled graphs filling it.
    """

    head_dim: int
    mask: Tensor | None
    positions: Tensor | None = None
    rotary_base: float = ROTARY_BASE
    finite: bool = False


Kernel = Callable[[Sequence[Tensor], Sequence[Type], Context], Tensor]


def zero_padding(x: Tensor, type_: Type, axis: int, mask: Tensor | None) -> Tensor:
    """Zeroes padded tokens along `axis` (0 rows, 1 columns) where it is the token axis."""
    if mask is None or type_[axis] != "n":
        return x
    keep = mask[:, None, :, None] if axis == 0 else mask[:, None, None, :]
    return x.masked_fill(~keep, 0.0)


def _neg(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return -args[0]


def _transpose(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return args[0].transpose(-1, -2)


def _scale(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return args[0] * context.head_dim**-0.5


def _softmax(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    (x,), (type_,) = args, types
    if context.mask is not None and type_[1] == "n":
        # The least finite value, not -inf: a row of padding only then gives numbers, not NaN.
        x = x.masked_fill(~context.mask[:, None, None, :], torch.finfo(x.dtype).min)
    return x.softmax(-1)


def _logsigmoid(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return F.logsigmoid(args[0])


def _softsign(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return F.softsign(args[0])


def _add(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return args[0] + args[1]


def _matmul(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    a = zero_padding(args[0], types[0], 1, context.mask)
    b = zero_padding(args[1], types[1], 0, context.mask)
    return a @ b


def unit_vectors(x: Tensor, dim: int) -> Tensor:
    """Divides the vectors along `dim` of a tensor of any shape by their lengths.

    Vectors of length 0, which shifts and padding leave, stay 0.
    """
    # In fp16 the usual 1e-12 is 0, which makes 0 / 0 of them.
    return F.normalize(x, dim=dim, eps=max(_EPSILON, torch.finfo(x.dtype).tiny))


def _cosine(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    a, b = (
        unit_vectors(zero_padding(x, type_, 1, context.mask), -1)
        for x, type_ in zip(args, types, strict=True)
    )
    return a @ b.transpose(-1, -2)


def _euclidean(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    a, b = (zero_padding(x, type_, 1, context.mask) for x, type_ in zip(args, types, strict=True))
    dtype = torch.promote_types(a.dtype, b.dtype)
    # |a|^2 + |b|^2 - 2ab cancels for near rows: never in half precision, and in double where a product in
    # single precision may round to TF32. Apple's GPUs have neither.
    rounds = rounds_to_tf32() and not a.is_mps
    with torch.autocast(a.device.type, enabled=False):
        wide = torch.promote_types(dtype, torch.float64 if rounds else torch.float32)
        a, b = a.to(wide), b.to(wide)
        squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1)[..., None, :]
        # The root's slope is infinite at 0, where equal rows are: hold it flat there.
        distances = (squares - 2 * (a @ b.transpose(-1, -2))).clamp_min(_EPSILON).sqrt()
    return distances.to(dtype)


def _rotary(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return rotate(args, context.positions, context.rotary_base)[0]


def _multiply(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return args[0] * args[1]


def _sigmoid(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return args[0].sigmoid()


def _previous(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return shift_tokens(zero_padding(args[0], types[0], 0, context.mask), 1, context.positions)


def _next(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return shift_tokens(zero_padding(args[0], types[0], 0, context.mask), -1, context.positions)


def _amplify(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return args[0] * context.head_dim**0.5


def shift_tokens(x: Tensor, offset: int, positions: Tensor | None) -> Tensor:
    """The row of the token `offset` positions before; 0 where there is none.

    Args:
        x: (B, H, n, d_h), 0 at padding.
        offset: 1 or -1.
        positions: As in `Context`. Neighbours without consecutive positions are of different documents.

    Returns:
        (B, H, n, d_h).
    """
    rows = F.pad(x.transpose(1, 2), (0, 0, 0, 0, offset, -offset))  # (B, n, H, d_h)
    if positions is not None:
        # Filled with what no position follows: the token at the end has no neighbour.
        neighbours = F.pad(positions, (offset, -offset), value=torch.iinfo(positions.dtype).min)
        rows = rows.masked_fill((neighbours + offset != positions)[..., None, None], 0.0)
    return rows.transpose(1, 2)  # (B, H, n, d_h)


KERNELS: dict[str, Kernel] = {
    "neg": _neg,
    "transpose": _transpose,
    "scale": _scale,
    "softmax": _softmax,
    "logsigmoid": _logsigmoid,
    "softsign": _softsign,
    "add": _add,
    "matmul": _matmul,
    "cosine": _cosine,
    "euclidean": _euclidean,
    "rotary": _rotary,
    "multiply": _multiply,
    "sigmoid": _sigmoid,
    "previous": _previous,
    "next": _next,
    "amplify": _amplify,
}
