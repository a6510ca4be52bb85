"""Cross-entropy over a whole vocabulary, with the gradient computed along with the loss."""

from typing import Any

import torch
from torch import Tensor

from autobert_zero.nn.vocabulary import cross_entropy

_CHUNK = 2**18
"""Logits in a chunk: a megabyte in single precision, which fits a core's second-level cache."""


def token_cross_entropy(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """Sum of the cross-entropies over `count`, which is their mean where `count` is m.

    On a CPU, where memory traffic dominates, the gradient is computed with the loss, some rows at a time: the
    logits are read once and never copied as a whole in single precision. Elsewhere this is
    `nn.vocabulary.cross_entropy`. Either way the softmax is in single precision, and the gradient has the
    logits' format.

    Args:
        logits: (m, vocabulary).
        labels: (m,) tokens.
        count: Divisor of the sum: the number of labels of the whole batch, of which these may be a part.

    Returns:
        A scalar in single precision, in nats. It can be differentiated once.
    """
    if logits.is_cpu:
        loss: Tensor = _CrossEntropy.apply(logits, labels, count)
        return loss
    return cross_entropy(logits, labels, None if count == len(labels) else count)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, count: int) -> Tensor:
        rows = max(_CHUNK // logits.shape[1], 1)
        grad_logits = torch.empty_like(logits)
        total = torch.zeros((), dtype=torch.float32)
        for part, wanted, target in zip(
            logits.split(rows), labels[:, None].split(rows), grad_logits.split(rows), strict=True
        ):
            logarithms = torch.log_softmax(part, 1, dtype=torch.float32)
            total -= logarithms.gather(1, wanted).sum()
            # d loss / d logit = probability - 1 at the label, probability elsewhere.
            probabilities = logarithms.exp_()
            probabilities.scatter_add_(1, wanted, probabilities.new_full(wanted.shape, -1.0))
            torch.div(probabilities, count, out=probabilities)
            target.copy_(probabilities)
        ctx.save_for_backward(grad_logits)
        return total / count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (grad_logits,) = ctx.saved_tensors
        if grad_output.item() != 1:
            grad_logits = grad_logits * grad_output.to(grad_logits.dtype)
        return grad_logits, None, None
