"""Distillation: a student encoder learns to compute what a teacher computes (Hinton et al. 2015).

The losses compare embeddings of whole texts, states after layers (TinyBERT, Jiao et al. 2020), relations
between the tokens of a text (MiniLM, Wang et al. 2020; here of states instead of attention values, which
convolutions lack), and predictions of masked tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.documents import Documents, layout
from autobert_zero.shared_config import LOSSES, TEXT_LOSSES, DistilConfig
from autobert_zero.training.distillation_losses import (
    embedding_loss,
    prediction_loss,
    relation_loss,
    state_error,
)
from autobert_zero.training.precision import Precision, autocast
from autobert_zero.training.teacher_embeddings import TeacherEmbeddings
from autobert_zero.training.texts import Texts, View, first_sequence, texts_of, view_of
from autobert_zero.training.transfer import to_device


@dataclass(frozen=True)
class Distillation:
    """What a student learns from its teacher.

    Attributes:
        settings: Weights of the losses, and how states and predictions are compared.
        layers: For each layer of the student, the index of the teacher's layer that it is compared with.
        cls_id: Id of `[CLS]`, which begins every text.
    """

    settings: DistilConfig
    layers: tuple[int, ...]
    cls_id: int

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each loss."""
        return self.settings.weights

    @property
    def compares_texts(self) -> bool:
        """Whether some loss compares texts."""
        return any(self.weights[name] for name in TEXT_LOSSES)


Masked = tuple[Tensor, Tensor, Tensor | None, Documents | None]
"""Masked ids (B, n), rows (m,) to predict, positions and documents, see `MaskedLM`."""


class Student(nn.Module):
    """A student, with projections to the teacher's width where its own differs.

    The projections are trained with it and dropped at the end. Everything is computed in `forward`, since
    with several processes the gradients of what a call computes are exchanged.

    Args:
        model: The student.
        width: d of the teacher.
        distillation: What the student learns.
    """

    def __init__(self, model: MaskedLM, width: int, distillation: Distillation) -> None:
        super().__init__()
        self.model = model
        if not distillation.settings.trains_head:
            # With several processes, every parameter that requires a gradient has to get one.
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
            every: Whether to return the states after every layer.
            masked: The masked tokens to predict, or None.

        Returns:
            A view of each group, and logits (m, vocabulary) or None.
        """
        views = []
        for ids, mask in texts:
            view = view_of(self.model.encoder, ids, mask, every)
            layers = [self._projected(f"layer{index}", states) for index, states in enumerate(view.layers)]
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
        teacher: The teacher in evaluation mode, on the student's device, without gradients.
        distillation: What the student learns.
        precision: Number format of the forward passes.
        embeddings: The teacher's embeddings of sequences, kept on disk; None to compute them batch by batch.
    """

    teacher: MaskedLM
    distillation: Distillation
    precision: Precision
    embeddings: TeacherEmbeddings | None = None

    def __call__(self, student: nn.Module, micro_batch: MaskedBatch, batch: MaskedBatch) -> Tensor:
        """The share of a micro-batch in the loss of the whole batch."""
        weights = self.distillation.weights
        losses, _ = self.compare(student, micro_batch, batch)
        return torch.stack([weights[name] * value for name, value in losses.items()]).sum()

    def compare(
        self, student: nn.Module, micro_batch: MaskedBatch, batch: MaskedBatch
    ) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
        """Runs student and teacher on a micro-batch.

        Returns:
            The micro-batch's share of each loss that has a weight, 0 where there is nothing to compare; and
            the student's and the teacher's embeddings (T, d) of each group of texts.
        """
        weights, cls_id = self.distillation.weights, self.distillation.cls_id
        device = next(student.parameters()).device
        every = bool(weights["hidden"])
        all_texts = texts_of(batch, cls_id) if self.distillation.compares_texts else []
        own = all_texts if micro_batch is batch or not all_texts else texts_of(micro_batch, cls_id)
        empty = self.distillation.compares_texts and not own
        if empty:  # the other processes wait for gradients: compute some that do not count
            own = [first_sequence(micro_batch)]
        texts = to_device([(group.ids, group.mask) for group in own], device)
        masked = _masked(micro_batch, device) if self.distillation.settings.trains_head else None
        labels = to_device(micro_batch.labels, device)
        with autocast(self.precision, device):
            with torch.no_grad():
                theirs = self._views(micro_batch, own, texts, every)
                wanted = self.teacher(*_arguments(masked)) if masked and weights["logits"] else None
            ours, logits = student(texts, every, masked)
        losses = {name: torch.zeros((), device=device) for name in LOSSES if weights[name]}
        counts = sum(len(group.ids) for group in all_texts), sum(int(group.mask.sum()) for group in all_texts)
        for (_, mask), mine, its in zip(texts, ours, theirs, strict=True):
            for name, value in self._text_losses(mine, its, mask, counts).items():
                losses[name] += value * 0.0 if empty else value
        if logits is not None:
            count = max(len(batch.labels), 1)
            if "masked" in losses:
                losses["masked"] += F.cross_entropy(logits.float(), labels, reduction="sum") / count
            if wanted is not None:
                known = wanted[:, : logits.shape[1]].float()  # a teacher may have spare rows
                divergence = prediction_loss(logits.float(), known, self.distillation.settings.temperature)
                losses["logits"] += divergence / count
        views = [] if empty else zip(ours, theirs, strict=True)
        return losses, [(mine.pooled, its.pooled) for mine, its in views]

    def _views(
        self, micro_batch: MaskedBatch, groups: list[Texts], texts: list[tuple[Tensor, Tensor]], every: bool
    ) -> list[View]:
        """The teacher's views of texts."""
        if self.embeddings is not None and groups:
            known = self.embeddings.embed(micro_batch)  # (texts of the micro-batch, d)
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
            heads = self.distillation.settings.relation_heads
            losses["relations"] = relation_loss(ours.last.float(), theirs.last.float(), mask, heads) / tokens
        return losses


def _masked(batch: MaskedBatch, device: torch.device) -> Masked:
    positions, documents = (None, None) if batch.starts is None else layout(batch.starts)
    return to_device((batch.ids, batch.rows, positions, documents), device)


def _arguments(masked: Masked) -> tuple[Tensor, Tensor, None, None, Tensor | None, Documents | None]:
    ids, rows, positions, documents = masked
    return ids, rows, None, None, positions, documents
