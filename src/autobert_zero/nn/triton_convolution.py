# mypy: disallow-untyped-decorators=False
"""Gate and convolution of `LightConvolution` as Triton kernels; needs Triton, so import it where it is used.

A program handles the channels of one head, for one tile of tokens after another. The convolution is a product
with a band matrix, for the tensor cores: a tile of T tokens is computed from itself and from a margin of M
tokens on each side. The states are read once, except for the margins, and only results are written.

The file is long because Triton compiles functions of tensors: the two kernels cannot share their loop over
tiles.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from autobert_zero.tf32 import rounds_to_tf32

_TILE = 64
"""Tokens T that are computed at once."""
_CHANNELS = 64
"""Maximum channels of a program; a wider head is divided."""
_WARPS = 8
"""With 4, or with loads in stages, registers spill on Hopper."""
_FORMATS = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
_PROGRAMS = 4
"""Programs per multiprocessor; each loops over its share of the tiles and loads the band matrix once."""


@triton.jit
def _inside(
    real: tl.tensor, sequence: tl.tensor, tokens: tl.tensor, n: int, MASKED: tl.constexpr
) -> tl.tensor:
    """A mask of the tokens that exist and are not padding."""
    inside = (tokens >= 0) & (tokens < n)
    if MASKED:
        inside = inside & (tl.load(real + sequence * n + tokens, mask=inside, other=0) != 0)
    return inside


@triton.jit
def _gated(
    projected: tl.tensor,
    sequence: tl.tensor,
    tokens: tl.tensor,
    channels: tl.tensor,
    wanted: tl.tensor,
    n: int,
    d: int,
) -> tl.tensor:
    """Values and opened gates of (B, n, 2 d), in single precision; values are 0 where none is wanted."""
    place = projected + (sequence * n + tokens[:, None]) * (2 * d) + channels[None, :]
    value = tl.load(place, mask=wanted, other=0.0).to(tl.float32)
    gate = tl.load(place + d, mask=wanted, other=0.0).to(tl.float32)
    return value, tl.sigmoid(gate)


@triton.jit
def _band(taps: tl.tensor, offsets: tl.tensor, K: tl.constexpr, KIND: tl.constexpr) -> tl.tensor:
    """The tap of a head at each offset between two tokens; 0 beyond the kernel."""
    index = offsets + K // 2
    return tl.load(taps + index, mask=(index >= 0) & (index < K), other=0.0).to(KIND)


@triton.jit
def _forward_kernel(
    projected: tl.tensor,
    kernel: tl.tensor,
    real: tl.tensor,
    mixed: tl.tensor,
    sequences: int,
    n: int,
    d: int,
    width: int,
    K: tl.constexpr,
    T: tl.constexpr,
    M: tl.constexpr,
    C: tl.constexpr,
    MASKED: tl.constexpr,
    KIND: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """(B, n, 2 d) to (B, n, d)."""
    parts = tl.cdiv(width, C)
    head = tl.program_id(1) // parts
    inner = (tl.program_id(1) % parts) * C + tl.arange(0, C)
    channels, own = head * width + inner, (inner < width)[None, :]
    t, m = tl.arange(0, T), tl.arange(0, M)
    taps = kernel + head * K
    middle = _band(taps, t[None, :] - t[:, None], K, KIND)
    before = _band(taps, m[None, :] - M - t[:, None], K, KIND)
    after = _band(taps, m[None, :] + T - t[:, None], K, KIND)
    tiles = tl.cdiv(n, T)
    for job in range(tl.program_id(0), tiles * sequences, tl.num_programs(0)):
        sequence, start = (job // tiles).to(tl.int64), (job % tiles) * T
        inside = _inside(real, sequence, start + t, n, MASKED)
        value, gate = _gated(projected, sequence, start + t, channels, inside[:, None] & own, n, d)
        total = tl.dot(middle, (value * gate).to(KIND), input_precision=PRECISION)
        inside = _inside(real, sequence, start - M + m, n, MASKED)
        value, gate = _gated(projected, sequence, start - M + m, channels, inside[:, None] & own, n, d)
        total = tl.dot(before, (value * gate).to(KIND), total, input_precision=PRECISION)
        inside = _inside(real, sequence, start + T + m, n, MASKED)
        value, gate = _gated(projected, sequence, start + T + m, channels, inside[:, None] & own, n, d)
        total = tl.dot(after, (value * gate).to(KIND), total, input_precision=PRECISION)
        tokens = start + t[:, None]
        place = mixed + (sequence * n + tokens) * d + channels[None, :]
        tl.store(place, total, mask=(tokens < n) & own)


@triton.jit
def _load_gradient(
    grad_output: tl.tensor,
    sequence: tl.tensor,
    tokens: tl.tensor,
    channels: tl.tensor,
    own: tl.tensor,
    n: int,
    d: int,
    KIND: tl.constexpr,
) -> tl.tensor:
    """The gradient of the result at some tokens; 0 outside of the sequence."""
    tokens = tokens[:, None]
    place = grad_output + (sequence * n + tokens) * d + channels[None, :]
    return tl.load(place, mask=(tokens >= 0) & (tokens < n) & own, other=0.0).to(KIND)


@triton.jit
def _store_taps(
    partial: tl.tensor, products: tl.tensor, rows: tl.tensor, offsets: tl.tensor, K: tl.constexpr
) -> None:
    """Stores products of tokens by row and tap, (T, K), so that a sum over the rows is the taps' gradient."""
    index = offsets + K // 2
    tl.store(partial + rows[:, None] * K + index, products, mask=(index >= 0) & (index < K))


@triton.jit
def _backward_kernel(
    grad_output: tl.tensor,
    projected: tl.tensor,
    kernel: tl.tensor,
    real: tl.tensor,
    states: tl.tensor,
    partial: tl.tensor,
    sequences: int,
    n: int,
    d: int,
    width: int,
    K: tl.constexpr,
    T: tl.constexpr,
    M: tl.constexpr,
    C: tl.constexpr,
    MASKED: tl.constexpr,
    KIND: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """The gradient (B, n, 2 d) of what was projected, and this program's part of the kernel's, (T, K)."""
    parts = tl.cdiv(width, C)
    head = tl.program_id(1) // parts
    inner = (tl.program_id(1) % parts) * C + tl.arange(0, C)
    channels, own = head * width + inner, (inner < width)[None, :]
    t, m = tl.arange(0, T), tl.arange(0, M)
    taps = kernel + head * K
    # What a token gave to another it gets back from it: offsets change their signs.
    middle = _band(taps, t[:, None] - t[None, :], K, KIND)
    before = _band(taps, t[:, None] + M - m[None, :], K, KIND)
    after = _band(taps, t[:, None] - T - m[None, :], K, KIND)
    # Products of the gradient at a tile's tokens with the gated states around them, added up over tiles.
    with_middle = tl.zeros((T, T), dtype=tl.float32)
    with_before = tl.zeros((T, M), dtype=tl.float32)
    with_after = tl.zeros((T, M), dtype=tl.float32)
    tiles = tl.cdiv(n, T)
    for job in range(tl.program_id(0), tiles * sequences, tl.num_programs(0)):
        sequence, start = (job // tiles).to(tl.int64), (job % tiles) * T
        gradient = _load_gradient(grad_output, sequence, start + t, channels, own, n, d, KIND)
        back = tl.dot(middle, gradient, input_precision=PRECISION)
        around = _load_gradient(grad_output, sequence, start - M + m, channels, own, n, d, KIND)
        back = tl.dot(before, around, back, input_precision=PRECISION)
        around = _load_gradient(grad_output, sequence, start + T + m, channels, own, n, d, KIND)
        back = tl.dot(after, around, back, input_precision=PRECISION)

        inside = _inside(real, sequence, start + t, n, MASKED)[:, None] & own
        value, gate = _gated(projected, sequence, start + t, channels, inside, n, d)
        back = tl.where(inside, back, 0.0)
        tokens = start + t[:, None]
        place = states + (sequence * n + tokens) * (2 * d) + channels[None, :]
        exists = (tokens < n) & own
        tl.store(place, back * gate, mask=exists)
        tl.store(place + d, back * value * gate * (1 - gate), mask=exists)

        gated = tl.trans((value * gate).to(KIND))
        with_middle = tl.dot(gradient, gated, with_middle, input_precision=PRECISION)
        inside = _inside(real, sequence, start - M + m, n, MASKED)[:, None] & own
        value, gate = _gated(projected, sequence, start - M + m, channels, inside, n, d)
        gated = tl.trans((value * gate).to(KIND))
        with_before = tl.dot(gradient, gated, with_before, input_precision=PRECISION)
        inside = _inside(real, sequence, start + T + m, n, MASKED)[:, None] & own
        value, gate = _gated(projected, sequence, start + T + m, channels, inside, n, d)
        gated = tl.trans((value * gate).to(KIND))
        with_after = tl.dot(gradient, gated, with_after, input_precision=PRECISION)
    partial += (tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)) * (T * K)
    _store_taps(partial, with_middle, t, t[None, :] - t[:, None], K)
    _store_taps(partial, with_before, t, m[None, :] - M - t[:, None], K)
    _store_taps(partial, with_after, t, m[None, :] + T - t[:, None], K)


def forward(projected: Tensor, kernel: Tensor, mask: Tensor | None) -> Tensor:
    """(B, n, 2 d), taps (H, k) and a mask (B, n) to (B, n, d), in the format of the states."""
    projected = projected.contiguous()
    mixed = projected.new_empty(*projected.shape[:2], projected.shape[2] // 2)
    _launch(_forward_kernel, _workers(projected, kernel), (projected,), kernel, mask, (mixed,))
    return mixed


def backward(
    grad_output: Tensor, projected: Tensor, kernel: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """From the gradient (B, n, d) of the result, those of the states (B, n, 2 d) and of the taps (H, k)."""
    projected = projected.contiguous()
    states, workers = torch.empty_like(projected), _workers(projected, kernel)
    heads, size = kernel.shape
    partial = projected.new_empty(
        workers, heads, _head_programs(projected, kernel), _TILE, size, dtype=torch.float32
    )
    given = (grad_output.to(projected.dtype).contiguous(), projected)
    _launch(_backward_kernel, workers, given, kernel, mask, (states, partial))
    return states, partial.sum((0, 2, 3)).to(kernel.dtype)


def _launch(
    kernel_: triton.JITFunction,
    workers: int,
    given: tuple[Tensor, ...],
    kernel: Tensor,
    mask: Tensor | None,
    results: tuple[Tensor, ...],
) -> None:
    sequences, n, _ = given[-1].shape
    heads, size = kernel.shape
    d = given[-1].shape[2] // 2
    real = given[-1] if mask is None else mask.contiguous().view(torch.uint8)  # never read without a mask
    with torch.cuda.device_of(given[0]):  # Triton launches on the current card
        kernel_[(workers, heads * _head_programs(given[-1], kernel))](
            *given,
            kernel.contiguous(),
            real,
            *results,
            sequences,
            n,
            d,
            d // heads,
            K=size,
            T=_TILE,
            M=max(triton.next_power_of_2(size // 2), 16),
            C=_channels(d // heads),
            MASKED=mask is not None,
            KIND=_FORMATS[given[-1].dtype]
            if given[-1].is_cuda
            else tl.float32,  # the interpreter multiplies no bf16
            PRECISION="tf32" if rounds_to_tf32() else "ieee",
            num_warps=_WARPS,
            num_stages=1,
        )


def _channels(width: int) -> int:
    """Channels of a program: those of a head, rounded to a power of 2 that tensor cores take."""
    return min(max(triton.next_power_of_2(width), 16), _CHANNELS)


def _head_programs(projected: Tensor, kernel: Tensor) -> int:
    """Programs that a head is divided among."""
    width = projected.shape[2] // 2 // kernel.shape[0]
    return triton.cdiv(width, _channels(width))


def _workers(projected: Tensor, kernel: Tensor) -> int:
    """Programs that the tiles of a head are divided among."""
    sequences, n, _ = projected.shape
    processors = 1
    if projected.is_cuda:
        processors = torch.cuda.get_device_properties(projected.device).multi_processor_count
    room = _PROGRAMS * processors // (kernel.shape[0] * _head_programs(projected, kernel))
    return min(max(room, 1), sequences * triton.cdiv(n, _TILE))
