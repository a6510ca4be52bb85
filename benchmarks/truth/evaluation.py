"""Evaluation of a model at a mark: losses, token uniformity and accuracy on minimal pairs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from autobert_zero.data.batches import evaluation_batches
from autobert_zero.data.masking import Vocabulary
from autobert_zero.data.splits import Splits
from autobert_zero.minimal_pairs.measure import TokenisedPairs
from autobert_zero.nn import MaskedLM
from autobert_zero.training.language import evaluate
from autobert_zero.training.loop import Diverged
from autobert_zero.training.precision import Precision
from autobert_zero.training.uniformity import token_uniformity

_UNIFORMITY_SEQUENCES = 256
"""Number of sequences on which token uniformity is measured."""


@dataclass(frozen=True)
class Setup:
    """Data and settings that all trainings of a table have in common.

    Attributes:
        data: Text to train on (`train`) and to evaluate on (`validation`, `holdout`).
        vocabulary: Vocabulary of the tokenizer.
        device: Name of the device.
        precision: Number format.
        batch_size: Sequences in a batch.
        evaluated: Maximum number of sequences in an evaluation on validation or held-out text.
        pairs: Minimal pairs; None leaves them out.
    """

    data: Splits
    vocabulary: Vocabulary
    device: str
    precision: Precision
    batch_size: int
    evaluated: int
    pairs: TokenisedPairs | None = None


def evaluate_losses(model: nn.Module, setup: Setup, clock: Callable[[], float]) -> dict[str, Any]:
    """Evaluates a model on validation and held-out text.

    Args:
        model: The model.
        setup: Data and settings.
        clock: Returns the time in seconds.

    Returns:
        Losses, accuracy of masked tokens, seconds, and for models of ours token uniformity, as plain data.

    Raises:
        Diverged: A loss is not finite.
    """
    start, data = clock(), setup.data
    validation, held_out = (
        evaluate(
            model,
            evaluation_batches(split, setup.vocabulary, 2 * setup.batch_size, setup.evaluated),
            setup.precision,
        )
        for split in (data.validation, data.holdout)
    )
    if not np.isfinite([validation.loss, held_out.loss]).all():
        raise Diverged(f"loss on held-out text is {held_out.loss}")
    measured: dict[str, Any] = {
        "selection_loss": validation.loss,
        "val_loss": held_out.loss,
        "mlm_accuracy": held_out.accuracy,
        "seconds_measured": clock() - start,
    }
    if isinstance(model, MaskedLM):
        rows = data.holdout.take(slice(0, _UNIFORMITY_SEQUENCES)).astype(np.int64)  # (B, n)
        measured["uniformity"] = token_uniformity(model, torch.from_numpy(rows))
    return measured


def evaluate_pairs(
    model: nn.Module, pairs: TokenisedPairs, precision: Precision, clock: Callable[[], float]
) -> dict[str, Any]:
    """Measures the accuracy on minimal pairs, overall and by phenomenon, and the seconds it takes."""
    start = clock()
    scored: Any = getattr(model, "model", model)  # a peer wraps a model of transformers
    results = pairs.measure(scored, precision)
    phenomena = {name: result.share for name, result in results.by("phenomenon").items()}
    figures = {"all": results.overall.share, "phenomena": phenomena}
    return {"minimal_pairs": figures, "seconds_pairs": clock() - start}
