"""Agreement of a student with its teacher on held-out text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.errors import UserError
from autobert_zero.shared_config import LOSSES, TEXT_LOSSES
from autobert_zero.training.distillation import DistillationLoss
from autobert_zero.training.texts import SHORTEST


@dataclass(frozen=True)
class Agreement:
    """Agreement of a student with its teacher.

    Attributes:
        loss: Weighted sum of the losses.
        parts: Each loss by its name.
        cosine: Mean cosine similarity of the embeddings of texts; None where no loss compares texts.
    """

    loss: float
    parts: dict[str, float]
    cosine: float | None


@torch.no_grad()
def agreement_on(
    student: nn.Module, objective: DistillationLoss, batches: Sequence[MaskedBatch]
) -> Agreement:
    """Measures a student; a batch counts by its number of sequences for the losses that it has text for.

    Raises:
        UserError: The batches hold nothing to compare for one of the losses.
    """
    student.eval()
    weights = objective.distillation.weights
    cosines: list[Tensor] = []
    rows: list[Tensor] = []
    counts = {name: [0] * len(batches) for name in LOSSES if weights[name]}
    for index, batch in enumerate(batches):
        losses, embeddings = objective.compare(student, batch, batch)
        rows.append(torch.stack(list(losses.values())))
        for name in losses:
            compared = bool(embeddings) if name in TEXT_LOSSES else len(batch.labels) > 0
            counts[name][index] = len(batch) if compared else 0
        cosines += [
            F.cosine_similarity(ours, theirs, dim=-1)
            for ours, theirs in embeddings
            if ours.shape == theirs.shape
        ]
    for name, compared_sequences in counts.items():
        if not any(compared_sequences):
            needed = f"text of {SHORTEST} tokens or more" if name in TEXT_LOSSES else "token to predict"
            raise UserError(f"the held-out text has no {needed} to compare with the teacher's; use more text")
    values = torch.stack(rows).tolist()  # read at the end, in one go
    parts = {
        name: math.fsum(row[index] * count for row, count in zip(values, counts[name], strict=True))
        / sum(counts[name])
        for index, name in enumerate(counts)
    }
    loss = math.fsum(weights[name] * value for name, value in parts.items())
    return Agreement(loss, parts, torch.cat(cosines).mean().item() if cosines else None)
