"""The losses of the heads: those of BERT's classes in `transformers`, in full precision."""

import torch
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.errors import UserError
from autobert_zero.nn.vocabulary import cross_entropy, precise


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the tokens with a label.

    Args:
        logits: (B, n, c).
        labels: (B, n), -100 at tokens without a label.
    """
    return cross_entropy(logits.flatten(0, 1), labels.flatten())  # (B * n, c), (B * n,)


def span_loss(logits: Tensor, positions: Tensor) -> Tensor:
    """Mean cross-entropy of the start or the end of a span.

    Args:
        logits: (B, n).
        positions: (B,); positions past the sequence (the answer was truncated) do not count.
    """
    outside = logits.shape[1]
    labels = positions.flatten().clamp(0, outside)  # (B,)
    return F.cross_entropy(precise(logits), labels, ignore_index=outside)


def classification_loss(logits: Tensor, labels: Tensor, problem: str | None) -> Tensor:
    """The loss of a sequence classifier, by the type of problem.

    Args:
        logits: (B, c).
        labels: (B,) or (B, c).
        problem: `regression`, `single_label_classification` or `multi_label_classification`. None infers it:
            regression for one class, single labels for integers, several labels otherwise.

    Returns:
        A scalar.

    Raises:
        UserError: The type of problem is unknown.
    """
    if problem is None:
        if logits.shape[1] == 1:
            problem = "regression"
        elif labels.dtype in (torch.int64, torch.int32):
            problem = "single_label_classification"
        else:
            problem = "multi_label_classification"
    logits = precise(logits)
    match problem:
        case "regression":
            return F.mse_loss(logits.float(), labels.view(logits.shape).float())  # (B, c) both
        case "single_label_classification":
            return F.cross_entropy(logits, labels.flatten())  # labels (B,)
        case "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    raise UserError(f"unknown problem_type {problem!r}")
