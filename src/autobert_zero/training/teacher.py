"""A teacher: a pre-trained model that students learn from."""

from dataclasses import dataclass

import torch

from autobert_zero.data.cache import cache_folder
from autobert_zero.errors import counted
from autobert_zero.nn import MaskedLM
from autobert_zero.run_folder import Input
from autobert_zero.shared_config import DistilConfig
from autobert_zero.space.inheritance import even_places
from autobert_zero.training.distillation import Distillation, DistillationLoss
from autobert_zero.training.goal import Distil
from autobert_zero.training.precision import Precision
from autobert_zero.training.teacher_embeddings import TeacherEmbeddings, keep_embeddings


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
