"""Similarity of pairs of texts: scored by the cosine of their embeddings, without training."""

from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.finetune.texts.task import Task


class SimilarityTask(Task):
    """Pairs of texts with a value of their similarity; no model is trained on them.

    Raises:
        UserError: There are not two columns of text, or as for `Task`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.columns) != 2:
            raise UserError(f"task {self.name}: a similarity is of two columns of text")


def refuse_training(task: SimilarityTask, data: Path | None) -> Any:
    """Refuses to train on a task that is scored without training.

    Raises:
        UserError: Always.
    """
    raise UserError(
        f"task {task.name} is of kind similarity, which is scored without training: autobert-zero compare "
        "MODEL --task FILE; to fine-tune on it leave kind out, and name metrics"
    )
