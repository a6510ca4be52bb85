"""Logits over a vocabulary and their cross-entropy, in forms that suit a GPU."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_MULTIPLE = 64
"""Tensor cores are fast where the number of columns of a product is a multiple of this."""
_CHUNK = 2**25
"""Logits in a chunk off the CPU: 128 MB in single precision."""
_PADDED = "padded"
"""Attribute of logits that holds the padded ones, of which they are the first columns."""


def vocabulary_logits(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Predicts tokens.

    On a CUDA card the vocabulary is padded to a multiple of 64 within the product, with logits of -inf, which
    `cross_entropy` leaves in. A compiled model is padded by the compiler.

    Args:
        hidden: (m, d).
        weight: (vocabulary, d).
        bias: (vocabulary,).

    Returns:
        (m, vocabulary).
    """
    vocabulary = len(weight)
    spare = -vocabulary % _MULTIPLE
    if not spare or not _pads(hidden):
        return F.linear(hidden, weight, bias)
    kind = hidden.device.type
    # Before the padding, so that what is written is small; autocast would do it after.
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    padded = F.linear(
        hidden,
        F.pad(weight.to(dtype), (0, 0, 0, spare)),
        F.pad(bias.to(dtype), (0, spare), value=-math.inf),
    )
    logits = padded[:, :vocabulary]
    setattr(logits, _PADDED, padded)
    return logits


def cross_entropy(logits: Tensor, labels: Tensor, count: int | None = None) -> Tensor:
    """Sum of the cross-entropies of the labelled tokens over `count`, or their mean.

    Many logits off the CPU are treated in chunks, and their softmax is computed again for the gradient: only
    they and their gradient are kept whole, in their own format.

    Args:
        logits: (m, vocabulary).
        labels: (m,) tokens, -100 where there is none.
        count: What the sum is divided by; None is the number of labels.

    Returns:
        A scalar in single precision, or in double where the logits are. In chunks it can be differentiated
        once.
    """
    logits = getattr(logits, _PADDED, logits)
    if _in_chunks(logits):
        total: Tensor = _ChunkedCrossEntropy.apply(logits, labels)
        return total / ((labels != -100).sum() if count is None else count)
    if count is None:
        return F.cross_entropy(precise(logits), labels)
    return F.cross_entropy(precise(logits), labels, reduction="sum") / count


def precise(logits: Tensor) -> Tensor:
    """Makes logits of any shape in half precision single: a loss in bf16 has two to three digits."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def _pads(hidden: Tensor) -> bool:
    return hidden.is_cuda and not torch.compiler.is_compiling()


def _in_chunks(logits: Tensor) -> bool:
    return logits.numel() > _CHUNK and not logits.is_cpu and not torch.compiler.is_compiling()


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The sum over the labelled tokens."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(logits, labels)
        dtype, rows = _softmax_format(logits), _chunk_rows(logits)
        losses = [
            F.nll_loss(F.log_softmax(part, 1, dtype=dtype), wanted, reduction="sum")
            for part, wanted in zip(logits.split(rows), labels.split(rows), strict=True)
        ]
        return torch.stack(losses).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        logits, labels = ctx.saved_tensors
        rows, grad_logits = _chunk_rows(logits), torch.empty_like(logits)
        for part, wanted, target in zip(
            logits.split(rows), labels[:, None].split(rows), grad_logits.split(rows), strict=True
        ):
            # d loss / d logit = probability - 1 at the label, probability elsewhere; 0 without a label.
            probabilities = torch.softmax(part, 1, dtype=_softmax_format(logits))
            probabilities.scatter_add_(1, wanted.clamp_min(0), probabilities.new_full(wanted.shape, -1.0))
            torch.mul(probabilities, grad_output * (wanted >= 0), out=target)
        return grad_logits, None


def _softmax_format(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _chunk_rows(logits: Tensor) -> int:
    """Rows of a chunk."""
    return max(_CHUNK // logits.shape[1], 1)
