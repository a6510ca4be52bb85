"""The graph compiler: a graph as a short list of fast tensor operations, made once and run at every call."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.compile.plan import PlanStep
from autobert_zero.compile.planner import make_plan
from autobert_zero.cudnn_attention import avoid_cudnn_fault
from autobert_zero.nn.kernels import KERNELS, Context, unit_vectors, zero_padding
from autobert_zero.nn.rotary import rotate
from autobert_zero.space import Graph

_MASKED = ("matmul", "previous", "next", "euclidean")
"""Kernels whose operands the plan has masked where they need it."""

_LONG = 1024
"""Tokens from which fused attention wins in half precision without AMX."""


class Compiled:
    """A graph as a fast function of its inputs; equal to the `Interpreter` up to rounding."""

    def __init__(self, graph: Graph) -> None:
        self.plan = make_plan(graph)
        self.inputs = self.plan.inputs
        types = ["nd"] * len(self.inputs) + [step.type for step in self.plan.steps]
        self._types = [[types[arg] for arg in step.args] for step in self.plan.steps]
        # Rotations of inputs are computed together, in one pass.
        self._rotated = [
            step.args[0]
            for step in self.plan.steps
            if step.op == "rotary" and step.args[0] < len(self.inputs)
        ]

    def __call__(self, inputs: Mapping[str, Tensor], context: Context) -> Tensor:
        """Computes the graph.

        Args:
            inputs: For each input of the graph a tensor (B, H, n, d_h).
            context: Head dimension and mask.

        Returns:
            The output, (B, H, n, d_h). Rows of padded tokens hold unspecified finite values.
        """
        values = [inputs[name] for name in self.inputs]
        if not context.finite:
            # Padding may hold anything, NaN too. What is computed of zeros is finite, and the plan masks it
            # where it meets real tokens.
            values = [zero_padding(value, "nd", 0, context.mask) for value in values]
        rotated: dict[int, Tensor] = {}
        if self._rotated:
            rotations = rotate(
                [values[register] for register in self._rotated], context.positions, context.rotary_base
            )
            rotated = dict(zip(self._rotated, rotations, strict=True))
        unmasked = Context(context.head_dim, None, context.positions, context.rotary_base, context.finite)
        for step, types in zip(self.plan.steps, self._types, strict=True):
            args = [values[arg] for arg in step.args]
            if step.op == "rotary" and step.args[0] in rotated:
                values.append(rotated[step.args[0]])
            elif step.op in OPERATIONS:
                values.append(OPERATIONS[step.op](step, args, context))
            else:
                values.append(KERNELS[step.op](args, types, unmasked if step.op in _MASKED else context))
        return values[self.plan.output]


Operation = Callable[[PlanStep, Sequence[Tensor], Context], Tensor]


def _scaled(step: PlanStep, args: Sequence[Tensor], context: Context) -> Tensor:
    return args[0] * step.scalar.value(context.head_dim)


def _add_scaled(step: PlanStep, args: Sequence[Tensor], context: Context) -> Tensor:
    return torch.add(args[0], args[1], alpha=step.scalar.value(context.head_dim))


def _mask(step: PlanStep, args: Sequence[Tensor], context: Context) -> Tensor:
    (x,) = args
    if context.mask is None:
        return x
    # Values are finite, so a product zeroes them; it is faster than filling, backward too.
    return x * _over_tokens(context.mask.to(x.dtype), step.axis)


def _softmax_along_axis(step: PlanStep, args: Sequence[Tensor], context: Context) -> Tensor:
    (x,) = args
    if context.mask is not None and step.type[step.axis] == "n":
        x = x + _over_tokens(_additive(context.mask, x.dtype), step.axis)
    # Down the columns by way of the rows: what is multiplied next wants the (d, n) layout.
    return x.softmax(-1) if step.axis == -1 else x.mT.softmax(-1).mT


def _softplus(step: PlanStep, args: Sequence[Tensor], context: Context) -> Tensor:
    # Above its threshold softplus is x: at 40 that is exact in double precision, at the default 20 it is not.
    return F.softplus(args[0], threshold=40.0)


def _unit(step: PlanStep, args: Sequence[Tensor], context: Context) -> Tensor:
    return unit_vectors(args[0], step.axis)


def _fused_attention(step: PlanStep, args: Sequence[Tensor], context: Context) -> Tensor:
    query, key, value, *rest = args
    scale = step.scalar.value(context.head_dim)
    mask, bias = context.mask, rest[0] if rest else None
    if _plain_is_faster(query, bias):
        scores = (query * scale) @ key.mT
        if bias is not None:
            scores = scores + bias
        if mask is not None:
            scores = scores + _over_tokens(_additive(mask, scores.dtype), -1)
        return scores.softmax(-1) @ value
    if bias is None:
        bias = None if mask is None else _over_tokens(mask, -1)
    elif mask is not None:
        bias = bias + _over_tokens(_additive(mask, bias.dtype), -1)
    if bias is not None:
        avoid_cudnn_fault(query.device)  # a user's own loop does not call find_device
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)


def _plain_is_faster(query: Tensor, bias: Tensor | None) -> bool:
    """Whether PyTorch's fused attention loses against the plain form, measured on CPU.

    It has no fused kernel there that differentiates its mask (1.15 times slower, n from 32 to 512). In half
    precision without AMX it loses twofold forward, and 1.4 (n = 512) to 4 times (n = 128) forward and
    backward; from about 2,048 tokens it wins, since the plain form keeps (n, n) matrices.
    """
    if query.device.type != "cpu":
        return False
    if bias is not None and bias.requires_grad:
        return True
    if query.dtype not in (torch.bfloat16, torch.float16) or query.shape[-2] > _LONG:
        return False
    return query.requires_grad or not _has_amx()


@cache
def _has_amx() -> bool:
    """Whether the CPU multiplies bf16 matrices as such."""
    return hasattr(torch.cpu, "_is_amx_tile_supported") and torch.cpu._is_amx_tile_supported()  # noqa: SLF001 - public in no version


def _over_tokens(mask: Tensor, axis: int) -> Tensor:
    """(B, n) -> (B, 1, 1, n), or (B, 1, n, 1) for the axis -2."""
    return mask[:, None, None, :] if axis == -1 else mask[:, None, :, None]


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 at real tokens, elsewhere a number that leaves nothing after a softmax, and is safe to add to."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min / 2)


OPERATIONS: dict[str, Operation] = {
    "scale": _scaled,
    "add": _add_scaled,
    "mask": _mask,
    "softmax": _softmax_along_axis,
    "softplus": _softplus,
    "unit": _unit,
    "attention": _fused_attention,
}
