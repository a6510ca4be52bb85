"""Distillation: a student encoder learns to compute what a teacher computes (Hinton et al. 2015).

Losses compare texts as a teacher sees them: embeddings of whole texts, states of layers (TinyBERT, Jiao et
al. 2020), relations between the tokens of a text (MiniLM, Wang et al. 2020; of states here instead of
attention values, which convolutions lack), and predictions of masked tokens.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.documents import Documents, layout
from autobert_zero.training.distillation_losses import (
    embedding_loss,
    prediction_loss,
    relation_loss,
    relative_error,
)
from autobert_zero.training.precision import Precision, autocast
from autobert_zero.training.teacher import TeacherEmbeddings
from autobert_zero.training.texts import Texts, View, texts_of, view_of
from autobert_zero.training.transfer import moved

LOSSES = ("embedding", "hidden", "relations", "logits", "masked")


@dataclass(frozen=True)
class Distillation:
    """What a student learns of its teacher; weights of 0 leave a loss out.

    Attributes:
        weights: Weight of each loss in `LOSSES`.
        layers: Index of the teacher's layer that each layer of the student is compared with.
        relation_heads: Parts of the states whose relations are compared, one by one.
        temperature: Temperature of the predictions; above 1 the teacher's unlikely tokens count more.
        beginning: Id of `[CLS]`, which begins every text.
    """

    weights: Mapping[str, float]
    layers: tuple[int, ...]
    relation_heads: int
    temperature: float
    beginning: int


Masked = tuple[Tensor, Tensor, Tensor | None, Documents | None]
"""Masked ids (B, n), rows (m,) to predict, positions and documents, see `MaskedLM`."""


class Student(nn.Module):
    """A student with the projections that it needs where its width is not the teacher's.

    The projections are trained along and dropped at the end. All is computed in `forward`, since several
    processes exchange gradients of what a call computes.

    Args:
        model: The student.
        width: d of the teacher.
        distillation: What is learned.
    """

    def __init__(self, model: MaskedLM, width: int, distillation: Distillation) -> None:
        super().__init__()
        self.model = model
        if not distillation.weights["logits"] and not distillation.weights["masked"]:
            for name, parameter in model.named_parameters():
                # Several processes wait for the gradients of all that is trained.
                parameter.requires_grad_(name.startswith("encoder."))
        self.projections = nn.ModuleDict()
        if model.encoder.config.width != width:
            names = ["embedding"] if distillation.weights["embedding"] else []
            if distillation.weights["hidden"]:
                names += [f"layer{index}" for index in range(len(distillation.layers))]
            for name in names:
                self.projections[name] = nn.Linear(model.encoder.config.width, width, bias=False)

    def forward(
        self, texts: list[tuple[Tensor, Tensor]], every: bool, masked: Masked | None
    ) -> tuple[list[View], Tensor | None]:
        """Encodes texts, and predicts masked tokens.

        Args:
            texts: Ids and mask (T, n) of each group.
            every: Whether the states after every layer are wanted.
            masked: What to predict, or None.

        Returns:
            A view of each group, and logits (m, vocabulary) or None.
        """
        views = []
        for ids, mask in texts:
            view = view_of(self.model.encoder, ids, mask, every)
            layers = [self._projected(f"layer{index}", each) for index, each in enumerate(view.layers)]
            views.append(View(self._projected("embedding", view.pooled), view.last, layers))
        if masked is None:
            return views, None
        return views, self.model(*_arguments(masked))

    def _projected(self, name: str, states: Tensor) -> Tensor:
        """(..., d) -> (..., width of the teacher)."""
        return self.projections[name](states) if name in self.projections else states


@dataclass(frozen=True)
class DistillationLoss:
    """The objective of a distillation, for `training.loop.train`.

    Attributes:
        teacher: In evaluation mode, on the student's device, without gradients.
        distillation: What is learned.
        precision: Number format of the forward passes.
        embeddings: The teacher's embeddings of sequences, kept on disk; None: computed batch by batch.
    """

    teacher: MaskedLM
    distillation: Distillation
    precision: Precision
    embeddings: TeacherEmbeddings | None = None

    def __call__(self, student: nn.Module, part: MaskedBatch, whole: MaskedBatch) -> Tensor:
        """What a part of a batch adds to the loss of the whole batch."""
        weights = self.distillation.weights
        losses, _ = self.compare(student, part, whole)
        return torch.stack([weights[name] * value for name, value in losses.items()]).sum()

    def compare(
        self, student: nn.Module, part: MaskedBatch, whole: MaskedBatch
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Runs both on a part of a batch.

        Returns:
            Each loss that has a weight, as its share of the mean over the whole batch, and the cosines (T,)
            of the embeddings of the texts.
        """
        weights, beginning = self.distillation.weights, self.distillation.beginning
        device = next(student.parameters()).device
        by_text = any(weights[name] for name in ("embedding", "hidden", "relations"))
        by_token = weights["logits"] or weights["masked"]
        every = bool(weights["hidden"])
        all_texts = texts_of(whole, beginning) if by_text else []
        own = all_texts if part is whole or not by_text else texts_of(part, beginning)
        texts = moved([(group.ids, group.mask) for group in own], device)
        masked = _masked(part, device) if by_token else None
        labels = moved(part.labels, device)
        with autocast(self.precision, device):
            with torch.no_grad():
                theirs = self._views(part, own, texts, every)
                wanted = self.teacher(*_arguments(masked)) if masked and weights["logits"] else None
            ours, logits = student(texts, every, masked)
        losses = {name: torch.zeros((), device=device) for name in LOSSES if weights[name]}
        counts = sum(len(group.ids) for group in all_texts), sum(int(group.mask.sum()) for group in all_texts)
        cosines = [torch.empty(0, device=device)]
        for (_, mask), mine, its in zip(texts, ours, theirs, strict=True):
            if mine.pooled.shape == its.pooled.shape:
                cosines.append(F.cosine_similarity(mine.pooled, its.pooled, dim=-1).detach())
            self._add_texts(losses, mine, its, mask, counts)
        if logits is not None:
            count = max(len(whole.labels), 1)
            if "masked" in losses:
                losses["masked"] += F.cross_entropy(logits.float(), labels, reduction="sum") / count
            if wanted is not None:
                known = wanted[:, : logits.shape[1]].float()  # a teacher may have spare rows
                divergence = prediction_loss(logits.float(), known, self.distillation.temperature)
                losses["logits"] += divergence / count
        return losses, torch.cat(cosines)

    def _views(
        self, part: MaskedBatch, groups: list[Texts], texts: list[tuple[Tensor, Tensor]], every: bool
    ) -> list[View]:
        """What the teacher makes of texts."""
        if self.embeddings is not None and groups:
            known = self.embeddings.embed(part)  # (texts of the part, d)
            return [View(known[group.places], torch.empty(0), []) for group in groups]
        return [view_of(self.teacher.encoder, ids, mask, every) for ids, mask in texts]

    def _add_texts(
        self, losses: dict[str, Tensor], ours: View, theirs: View, mask: Tensor, counts: tuple[int, int]
    ) -> None:
        texts, tokens = counts
        if "embedding" in losses:
            losses["embedding"] += embedding_loss(ours.pooled, theirs.pooled) / texts
        if "hidden" in losses:
            for mine, place in zip(ours.layers, self.distillation.layers, strict=True):
                error = relative_error(mine.float()[mask], theirs.layers[place].float()[mask])
                losses["hidden"] += error / tokens / len(self.distillation.layers)
        if "relations" in losses:
            heads = self.distillation.relation_heads
            losses["relations"] += relation_loss(ours.last.float(), theirs.last.float(), mask, heads) / tokens


@dataclass(frozen=True)
class Agreement:
    """How close a student is to its teacher on held-out text.

    Attributes:
        loss: The weighted sum of the losses.
        parts: Each loss by its name.
        cosine: Mean cosine of the embeddings of texts; None where no loss compares texts.
    """

    loss: float
    parts: dict[str, float]
    cosine: float | None


@torch.no_grad()
def agreement(student: nn.Module, objective: DistillationLoss, batches: Sequence[MaskedBatch]) -> Agreement:
    """Measures a student on batches, each counting by its number of sequences."""
    student.eval()
    total = sum(len(batch) for batch in batches)
    parts: dict[str, float] = {}
    cosines: list[Tensor] = []
    rows: list[Tensor] = []
    for batch in batches:
        losses, similar = objective.compare(student, batch, batch)
        cosines.append(similar)
        rows.append(torch.stack(list(losses.values())))
    for batch, row in zip(batches, torch.stack(rows).tolist(), strict=True):  # read at the end, in one go
        for name, value in zip(losses, row, strict=True):
            parts[name] = parts.get(name, 0.0) + value * len(batch) / total
    weights = objective.distillation.weights
    loss = math.fsum(weights[name] * value for name, value in parts.items())
    everything = torch.cat(cosines)  # (texts,)
    return Agreement(loss, parts, everything.mean().item() if len(everything) else None)


def _masked(batch: MaskedBatch, device: torch.device) -> Masked:
    positions, documents = (None, None) if batch.starts is None else layout(batch.starts)
    return moved((batch.ids, batch.rows, positions, documents), device)


def _arguments(masked: Masked) -> tuple[Tensor, Tensor, None, None, Tensor | None, Documents | None]:
    ids, rows, positions, documents = masked
    return ids, rows, None, None, positions, documents
