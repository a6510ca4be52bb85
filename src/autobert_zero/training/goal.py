"""Goals: the objective of a training and its figures, for masked tokens or for a teacher."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from autobert_zero.data.masking import MaskedBatch, Vocabulary
from autobert_zero.nn import MaskedLM
from autobert_zero.run_folder import Input
from autobert_zero.training.agreement import agreement_on
from autobert_zero.training.distillation import DistillationLoss, Student
from autobert_zero.training.language import evaluate, guess_limit, language_objective
from autobert_zero.training.loop import Objective
from autobert_zero.training.precision import Precision

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
