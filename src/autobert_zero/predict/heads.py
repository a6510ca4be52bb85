"""The prediction tasks by name, and the choice of the task that a model was trained for."""

from collections.abc import Callable

from autobert_zero.errors import UserError
from autobert_zero.finetune.models import Pretrained
from autobert_zero.predict.answering import AnswerHead
from autobert_zero.predict.classify import LabelHead, ScoreHead
from autobert_zero.predict.embedding import EmbeddingHead
from autobert_zero.predict.filling import MaskHead
from autobert_zero.predict.head import Head
from autobert_zero.predict.tagging import TagHead

DEFAULT_TOP_K = 5
"""Number of tokens per mask."""

HEADS: dict[str, Callable[[Pretrained, int], Head]] = {
    "labels": lambda model, top_k: LabelHead(model),
    "scores": lambda model, top_k: ScoreHead(model),
    "tags": lambda model, top_k: TagHead(model),
    "answers": lambda model, top_k: AnswerHead(model),
    "mask": MaskHead,
    "embed": lambda model, top_k: EmbeddingHead(model),
}
"""Makes the head of a task for a model; the number is that of the tokens per mask."""

AUTO = "auto"
"""Stands for the task that the model was trained for."""

_ENDINGS = (
    ("ForSequenceClassification", "labels"),
    ("ForTokenClassification", "tags"),
    ("ForQuestionAnswering", "answers"),
    ("ForQuestionAnsweringSimple", "answers"),
    ("ForMaskedLM", "mask"),
    ("ForPreTraining", "mask"),
    ("Model", "embed"),
)
"""Suffixes of class names in `transformers`, with their tasks."""


def make_head(model: Pretrained, task: str, top_k: int | None = None) -> Head:
    """Makes the head of a task, or of the task that the model was trained for.

    Args:
        model: The model.
        task: A name in `HEADS`, or `auto`.
        top_k: Number of tokens per mask, for the task `mask` only; None means `DEFAULT_TOP_K`.

    Raises:
        UserError: There is no such task, or the model was not trained for it.
    """
    if task != AUTO and task not in HEADS:
        raise UserError(f"--task must be auto or one of {', '.join(HEADS)}, not {task!r}")
    kind = architecture(model)
    own = _own_task(model, kind)
    if task == AUTO:
        if own is None:
            problem = (
                f"has the class {kind}, for which there is no task"
                if kind
                else "is a model whose config.json names no class"
            )
            raise UserError(f"{model.source} {problem}; choose with --task: {', '.join(HEADS)}")
        task = own
    elif task not in ("embed", own) and kind is not None:
        choices = " or ".join(f"--task {name}" for name in dict.fromkeys((own, "embed")) if name)
        remedy = "" if task == "mask" else "fine-tune it first (autobert-zero finetune), or "
        raise UserError(
            f"{model.source} was not trained for {task}: its class is {kind}; {remedy}use {choices}"
        )
    if top_k is not None and task != "mask":
        raise UserError(f"--top-k applies to --task mask, not to {task}")
    return HEADS[task](model, top_k or DEFAULT_TOP_K)


def architecture(model: Pretrained) -> str | None:
    """Name of the model's class in `transformers`; None if its config.json names no class."""
    names = getattr(model.config, "architectures", None)
    return str(names[0]) if names else None


def _own_task(model: Pretrained, kind: str | None) -> str | None:
    task = next((task for ending, task in _ENDINGS if kind is not None and kind.endswith(ending)), None)
    config = model.config
    if task == "labels" and (
        config.problem_type == "regression" or (config.problem_type is None and config.num_labels == 1)
    ):
        return "scores"
    return task
