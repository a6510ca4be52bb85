"""What a pre-training minimises and is measured by: masked tokens, or the distance to a teacher."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from autobert_zero.data.masking import MaskedBatch, Vocabulary
from autobert_zero.data.tokenizer import load_tokenizer
from autobert_zero.errors import UserError
from autobert_zero.hf.encoders import open_encoder
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.inherit import inherit_weights
from autobert_zero.pretrain.config import DistilConfig, PretrainConfig
from autobert_zero.run_folder import Input
from autobert_zero.space.inheritance import plan_inheritance
from autobert_zero.training.distillation import Distillation, DistillationLoss, Student, agreement
from autobert_zero.training.language import evaluate, guess_limit, language_objective
from autobert_zero.training.loop import Objective
from autobert_zero.training.precision import Precision

if TYPE_CHECKING:
    from accelerate import Accelerator

_STUDENT = "model."

Figures = dict[str, float]
"""What was measured on held-out text, by name; `loss` is first."""


class Goal(Protocol):
    """What a training minimises.

    Attributes:
        inputs: What it depends on beside config and text.
        lines: What is learned, for the first lines.
        loss_limit: A loss above it is divergence.
    """

    inputs: dict[str, Input]
    lines: list[str]
    loss_limit: float

    def wrap(self, model: MaskedLM) -> nn.Module:
        """The module that is trained, on the model's device."""
        ...

    def objective(self) -> Objective[MaskedBatch]:
        """The loss."""
        ...

    def evaluate(
        self, model: nn.Module, batches: Sequence[MaskedBatch], accelerator: "Accelerator | None"
    ) -> Figures:
        """Figures on held-out text, `loss` first; the model is in evaluation mode afterwards."""
        ...

    def weights(self, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's weights, by its own names, of those of the wrapped module."""
        ...


class MaskedTokens:
    """BERT's objective.

    Args:
        vocabulary: The tokenizer's.
        precision: Number format of the forward pass.
    """

    def __init__(self, vocabulary: Vocabulary, precision: Precision) -> None:
        self.inputs: dict[str, Input] = {}
        self.lines: list[str] = []
        self.loss_limit = guess_limit(vocabulary.size)
        self._precision = precision

    def wrap(self, model: MaskedLM) -> nn.Module:
        """The model itself."""
        return model

    def objective(self) -> Objective[MaskedBatch]:
        """The mean over masked tokens, and over pairs of segments."""
        return language_objective(self._precision)

    def evaluate(
        self, model: nn.Module, batches: Sequence[MaskedBatch], accelerator: "Accelerator | None"
    ) -> Figures:
        """Loss and accuracies; processes divide the work."""
        result = evaluate(model, batches, self._precision, accelerator)
        figures = {"loss": result.loss, "mlm_accuracy": result.accuracy}
        if result.order_accuracy is not None:
            figures["nsp_accuracy"] = result.order_accuracy
        return figures

    def weights(self, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All of them."""
        return dict(trained)


@dataclass
class Distil:
    """The distance to a teacher.

    Attributes:
        inputs: A digest of the teacher's weights.
        lines: The teacher, and the losses.
        loss_limit: There is none: losses are relative to the teacher.
    """

    inputs: dict[str, Input]
    lines: list[str]
    loss_limit: float
    _loss: DistillationLoss
    _width: int

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
        result = agreement(model, self._loss, batches)
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


def make_goal(config: PretrainConfig, tokenizer: Tokenizer) -> Goal:
    """The goal that a config names.

    Args:
        config: The whole config.
        tokenizer: The student's.

    Raises:
        UserError: The teacher cannot be used with this student.
    """
    if config.distil is None:
        return MaskedTokens(Vocabulary.of(tokenizer), config.precision)
    return _distil(config, config.distil, tokenizer)


def _distil(config: PretrainConfig, settings: DistilConfig, tokenizer: Tokenizer) -> Distil:
    encoder = open_encoder(settings.teacher)
    sizes, width = encoder.sizes, config.model.width
    if load_tokenizer(encoder.source).get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"the teacher {settings.teacher} has another vocabulary than {config.start}; a student needs the "
            "vocabulary of its teacher"
        )
    if settings.logits and not encoder.has_head:
        raise UserError(f"{settings.teacher} has no head that predicts masked tokens: set distil.logits=0")
    if sizes.length_limit is not None and config.positions > sizes.length_limit:
        raise UserError(
            f"a phase has sequences of {config.positions} tokens, the teacher has {sizes.length_limit} "
            "positions; choose shorter sequences"
        )
    heads = settings.relation_heads
    if settings.relations and (sizes.width % heads or width % heads):
        raise UserError(
            f"distil.relation_heads is {heads}, which does not divide the widths {sizes.width} (teacher) and "
            f"{width} (student)"
        )
    weights = encoder.weights()
    with torch.random.fork_rng(devices=[]):  # the student's new weights do not depend on the teacher's
        teacher = MaskedLM(encoder.backbone, sizes)
    inherit_weights(teacher, weights, encoder.backbone, plan_inheritance(encoder.backbone, encoder.backbone))
    teacher.eval().requires_grad_(False)
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    beginning = tokenizer.get_vocab()["[CLS]"]
    depth, limit = len(config.backbone), len(encoder.backbone.layers)
    places = tuple(max((index + 1) * limit // depth - 1, 0) for index in range(depth))
    named = ", ".join(f"{name} {weight:g}" for name, weight in settings.weights.items() if weight)
    compared = f"; layers {', '.join(str(place + 1) for place in places)} of it" if settings.hidden else ""
    parameters = sum(parameter.numel() for parameter in teacher.parameters())
    return Distil(
        {"teacher": Input(digest.hexdigest(), settings.teacher)},
        [
            f"teacher {settings.teacher}: {limit} layers, width {sizes.width}, {parameters:,} parameters; "
            f"losses: {named}{compared}"
        ],
        float("inf"),
        DistillationLoss(
            teacher,
            Distillation(settings.weights, places, heads, settings.temperature, beginning),
            config.precision,
        ),
        sizes.width,
    )
