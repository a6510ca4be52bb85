"""Goals: the objective of a training and its figures, for masked tokens or for a teacher."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autobert_zero.data.cache import cache_folder
from autobert_zero.data.masking import MaskedBatch, Vocabulary
from autobert_zero.errors import counted
from autobert_zero.nn import MaskedLM
from autobert_zero.run_folder import Input
from autobert_zero.shared_config import DistilConfig
from autobert_zero.space.inheritance import even_places
from autobert_zero.training.agreement import agreement_on
from autobert_zero.training.distillation import Distillation, DistillationLoss, Student
from autobert_zero.training.language import evaluate, guess_limit, language_objective
from autobert_zero.training.loop import Objective
from autobert_zero.training.precision import Precision
from autobert_zero.training.teacher import TeacherEmbeddings, keep_embeddings

if TYPE_CHECKING:
    from accelerate import Accelerator

_STUDENT = "model."

Figures = dict[str, float]
"""Figures on held-out text by name, `loss` first."""


class MaskedTokens:
    """BERT's objective.

    Args:
        vocabulary: The tokenizer's.
        precision: Number format of the forward pass.

    Attributes:
        inputs: Inputs of the training besides config and text, for the record of a run.
        lines: What is learned, for the first lines of a command.
        loss_limit: A loss above it counts as divergence.
    """

    def __init__(self, vocabulary: Vocabulary, precision: Precision) -> None:
        self.inputs: dict[str, Input] = {}
        self.lines: list[str] = []
        self.loss_limit = guess_limit(vocabulary.size)
        self._precision = precision

    def wrap(self, model: MaskedLM) -> nn.Module:
        """The module to train, on the model's device: the model itself."""
        return model

    def objective(self) -> Objective[MaskedBatch]:
        """The mean over masked tokens, and over pairs of segments."""
        return language_objective(self._precision)

    def evaluate(
        self, model: nn.Module, batches: Sequence[MaskedBatch], accelerator: "Accelerator | None"
    ) -> Figures:
        """Measures loss and accuracies on held-out text, divided over processes; ends in evaluation mode."""
        result = evaluate(model, batches, self._precision, accelerator)
        figures = {"loss": result.loss, "mlm_accuracy": result.accuracy}
        if result.order_accuracy is not None:
            figures["nsp_accuracy"] = result.order_accuracy
        return figures

    def weights(self, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's weights, by its own names, of those of the wrapped module: all."""
        return dict(trained)


@dataclass
class Distil:
    """The distance to a teacher; see `MaskedTokens`.

    Attributes:
        inputs: A digest of the teacher's weights.
        lines: The teacher and the losses.
        loss_limit: Infinite: the losses are relative to the teacher.
    """

    inputs: dict[str, Input]
    lines: list[str]
    _loss: DistillationLoss
    _width: int
    loss_limit: float = math.inf

    def wrap(self, model: MaskedLM) -> nn.Module:
        """The student with its projections, a function of the random seed; the teacher joins its device."""
        device = next(model.parameters()).device
        self._loss.teacher.to(device)
        return Student(model, self._width, self._loss.distillation).to(device)

    def objective(self) -> Objective[MaskedBatch]:
        """The weighted sum of the losses."""
        return self._loss

    def evaluate(
        self, model: nn.Module, batches: Sequence[MaskedBatch], accelerator: "Accelerator | None"
    ) -> Figures:
        """The loss, its parts where there are several, and the cosine; every process measures all."""
        result = agreement_on(model, self._loss, batches)
        parts = {f"{name}_loss": value for name, value in result.parts.items()}
        cosine = {} if result.cosine is None else {"cosine": result.cosine}
        return {"loss": result.loss, **(parts if len(parts) > 1 else {}), **cosine}

    def weights(self, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's, without projections."""
        return {
            name.removeprefix(_STUDENT): tensor
            for name, tensor in trained.items()
            if name.startswith(_STUDENT)
        }


Goal = MaskedTokens | Distil
"""A goal of a training."""


@dataclass(frozen=True)
class Teacher:
    """A pre-trained model that students learn from.

    Attributes:
        name: Its name, as the user wrote it.
        model: The model in evaluation mode, without gradients.
        digest: Digest of its weights.
        cls_id: Id of `[CLS]`, which begins every text.
        settings: What students learn.
    """

    name: str
    model: MaskedLM
    digest: str
    cls_id: int
    settings: DistilConfig

    @property
    def input(self) -> Input:
        """The teacher, for the record of a run."""
        return Input(self.digest, self.name)

    def goal(self, depth: int, precision: Precision, device: torch.device) -> Distil:
        """The distance to the teacher.

        Args:
            depth: Layers of the student.
            precision: Number format of the forward passes.
            device: Where the student is trained; embeddings are kept on disk on a CPU only.

        Raises:
            CacheError: The cache may not be read.
        """
        settings, sizes = self.settings, self.model.encoder.config
        embeddings = self._kept_embeddings(precision, device)
        limit = len(self.model.encoder.layers)
        places = even_places(depth, limit)
        named = ", ".join(f"{name} {weight:g}" for name, weight in settings.weights.items() if weight)
        compared = (
            f"; layers {', '.join(str(place + 1) for place in places)} of it" if settings.hidden else ""
        )
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        distillation = Distillation(settings, places, self.cls_id)
        return Distil(
            {"teacher": self.input},
            [
                f"teacher {self.name}: {counted(limit, 'layer')}, width {sizes.width}, "
                f"{parameters:,} parameters; losses: {named}{compared}",
                *self._kept_lines(embeddings),
            ],
            DistillationLoss(self.model, distillation, precision, embeddings),
            sizes.width,
        )

    def _kept_embeddings(self, precision: Precision, device: torch.device) -> TeacherEmbeddings | None:
        """The embeddings that are kept, where that is cheaper; states of tokens would take far more room."""
        settings = self.settings
        if device.type != "cpu" or not settings.embedding or settings.hidden or settings.relations:
            return None
        limit = int(settings.kept_gigabytes * 1e9)
        return keep_embeddings(self.model.encoder, self.digest, self.cls_id, precision, limit)

    def _kept_lines(self, embeddings: TeacherEmbeddings | None) -> list[str]:
        if not self.settings.embedding:
            return []
        if embeddings is None:
            where = "on a CPU, where embeddings are the only states that are compared"
            return [f"embeddings of the teacher: computed in every step (they are kept {where})"]
        limit, full = self.settings.kept_gigabytes, "" if embeddings.kept.room > 0 else "; no room for more"
        return [
            f"embeddings of the teacher: kept in {cache_folder()}, up to {limit:g} GB; "
            f"{len(embeddings.kept):,} sequences are there{full}"
        ]
