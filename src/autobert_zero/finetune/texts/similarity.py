"""Similarity of pairs of texts: scored by the cosine of their embeddings, without training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.finetune.task_file import parse_file
from autobert_zero.finetune.texts.task import Task, TextTaskFile


class SimilarityTask(Task):
    """Pairs of texts with a value that says how similar they are; nothing is trained with them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.columns) != 2:
            raise UserError(f"task {self.name}: a similarity is of two columns of text")


def parse_similarity(path: Path, content: Mapping[str, Any]) -> SimilarityTask:
    """A similarity task of the user.

    Args:
        path: Its file, for messages and as its name.
        content: What the file holds; every value is the text that is written.

    Raises:
        UserError: It does not describe a task.
    """
    return parse_file(TextTaskFile, SimilarityTask, path, content, labels=(), metrics=("spearman",))


def refuse_training(task: SimilarityTask, data: Path | None) -> Any:
    """Where a task is wanted that a model is trained for.

    Raises:
        UserError: Always.
    """
    raise UserError(
        f"task {task.name} is of kind similarity, which is scored without training: autobert-zero compare "
        "MODEL --task FILE; to fine-tune on it leave kind out, and name metrics"
    )
