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
from autobert_zero.errors import UserError
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.documents import Documents, layout
from autobert_zero.shared_config import LOSSES as LOSSES
from autobert_zero.shared_config import TEXT_LOSSES, TOKEN_LOSSES
from autobert_zero.training.distillation_losses import (
    embedding_loss,
    prediction_loss,
    relation_loss,
    state_error,
)
from autobert_zero.training.precision import Precision, autocast
from autobert_zero.training.teacher import TeacherEmbeddings
from autobert_zero.training.texts import SHORTEST, Texts, View, first_sequence, texts_of, view_of
from autobert_zero.training.transfer import moved


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

    @property
    def by_text(self) -> bool:
        """Whether texts are compared."""
        return any(self.weights[name] for name in TEXT_LOSSES)

    @property
    def by_token(self) -> bool:
        """Whether masked tokens are predicted."""
        return any(self.weights[name] for name in TOKEN_LOSSES)


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
        if not distillation.by_token:
            # Several processes wait for the gradients of all that is trained.
            model.requires_grad_(False).encoder.requires_grad_(True)
            if not distillation.weights["embedding"] and not distillation.weights["relations"]:
                model.encoder.final_norm.requires_grad_(False)  # the states after layers are before it
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
    ) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
        """Runs both on a part of a batch.

        Returns:
            Each loss that has a weight, as its share of the mean over the whole batch, 0 where there is
            nothing to compare; and the student's and the teacher's embeddings (T, d) of each group of texts.
        """
        weights, beginning = self.distillation.weights, self.distillation.beginning
        device = next(student.parameters()).device
        every = bool(weights["hidden"])
        all_texts = texts_of(whole, beginning) if self.distillation.by_text else []
        own = all_texts if part is whole or not all_texts else texts_of(part, beginning)
        empty = self.distillation.by_text and not own
        if empty:  # several processes wait for the gradients of each: it computes what does not count
            own = [first_sequence(part)]
        texts = moved([(group.ids, group.mask) for group in own], device)
        masked = _masked(part, device) if self.distillation.by_token else None
        labels = moved(part.labels, device)
        with autocast(self.precision, device):
            with torch.no_grad():
                theirs = self._views(part, own, texts, every)
                wanted = self.teacher(*_arguments(masked)) if masked and weights["logits"] else None
            ours, logits = student(texts, every, masked)
        losses = {name: torch.zeros((), device=device) for name in LOSSES if weights[name]}
        counts = sum(len(group.ids) for group in all_texts), sum(int(group.mask.sum()) for group in all_texts)
        for (_, mask), mine, its in zip(texts, ours, theirs, strict=True):
            for name, value in self._text_losses(mine, its, mask, counts).items():
                losses[name] += value * 0.0 if empty else value
        if logits is not None:
            count = max(len(whole.labels), 1)
            if "masked" in losses:
                losses["masked"] += F.cross_entropy(logits.float(), labels, reduction="sum") / count
            if wanted is not None:
                known = wanted[:, : logits.shape[1]].float()  # a teacher may have spare rows
                divergence = prediction_loss(logits.float(), known, self.distillation.temperature)
                losses["logits"] += divergence / count
        views = [] if empty else zip(ours, theirs, strict=True)
        return losses, [(mine.pooled, its.pooled) for mine, its in views]

    def _views(
        self, part: MaskedBatch, groups: list[Texts], texts: list[tuple[Tensor, Tensor]], every: bool
    ) -> list[View]:
        """What the teacher makes of texts."""
        if self.embeddings is not None and groups:
            known = self.embeddings.embed(part)  # (texts of the part, d)
            return [View(known[group.places], torch.empty(0), []) for group in groups]
        return [view_of(self.teacher.encoder, ids, mask, every) for ids, mask in texts]

    def _text_losses(
        self, ours: View, theirs: View, mask: Tensor, counts: tuple[int, int]
    ) -> dict[str, Tensor]:
        """The losses of a group of texts; `counts` are the texts and the tokens of the whole batch."""
        weights, losses = self.distillation.weights, {}
        texts, tokens = (max(count, 1) for count in counts)
        if weights["embedding"]:
            losses["embedding"] = embedding_loss(ours.pooled, theirs.pooled) / texts
        if weights["hidden"]:
            places = self.distillation.layers
            errors = [
                state_error(mine, theirs.layers[place], mask) / tokens / len(places)
                for mine, place in zip(ours.layers, places, strict=True)
            ]
            losses["hidden"] = torch.stack(errors).sum()
        if weights["relations"]:
            heads = self.distillation.relation_heads
            losses["relations"] = relation_loss(ours.last.float(), theirs.last.float(), mask, heads) / tokens
        return losses


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
    """Measures a student on batches, each counting by its number of sequences where it has what is compared.

    Raises:
        UserError: There is nothing to compare in them.
    """
    student.eval()
    weights = objective.distillation.weights
    cosines: list[Tensor] = []
    rows: list[Tensor] = []
    counts = {name: [0] * len(batches) for name in LOSSES if weights[name]}
    for place, batch in enumerate(batches):
        losses, embeddings = objective.compare(student, batch, batch)
        rows.append(torch.stack(list(losses.values())))
        for name in losses:
            compared = bool(embeddings) if name in TEXT_LOSSES else len(batch.labels) > 0
            counts[name][place] = len(batch) if compared else 0
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
        name: math.fsum(row[place] * count for row, count in zip(values, counts[name], strict=True))
        / sum(counts[name])
        for place, name in enumerate(counts)
    }
    loss = math.fsum(weights[name] * value for name, value in parts.items())
    return Agreement(loss, parts, torch.cat(cosines).mean().item() if cosines else None)


def _masked(batch: MaskedBatch, device: torch.device) -> Masked:
    positions, documents = (None, None) if batch.starts is None else layout(batch.starts)
    return moved((batch.ids, batch.rows, positions, documents), device)


def _arguments(masked: Masked) -> tuple[Tensor, Tensor, None, None, Tensor | None, Documents | None]:
    ids, rows, positions, documents = masked
    return ids, rows, None, None, positions, documents
