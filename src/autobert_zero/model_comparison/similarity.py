"""Scores encoders on pairs of sentences: the rank correlation of cosine similarities with the labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.stats
import torch

from autobert_zero.errors import UserError, counted
from autobert_zero.finetune.kinds import find_task
from autobert_zero.finetune.texts.data import load_labelled
from autobert_zero.finetune.texts.task import Task
from autobert_zero.model_comparison.engines import Array, Engine
from autobert_zero.model_comparison.models import ComparedEncoder

_BATCH = 32
_MAX_LENGTH = 512
"""Maximum number of tokens in a text, whatever the model takes."""


@dataclass(frozen=True)
class Pairs:
    """A similarity task.

    Attributes:
        name: Name of the task.
        split: `test` if that has labels, otherwise a validation split.
        first: The first sentences.
        second: The second sentences.
        scores: Similarities as judged by people.
    """

    name: str
    split: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]


def load_pairs(name: str, data: Path | None) -> Pairs:
    """Reads a task of pairs with values, such as `stsb`.

    Args:
        name: A built-in task, or a YAML file.
        data: Folder with one folder per task, or the folder of this task; None means the Hub.

    Raises:
        UserError: The task is of another kind, or its data cannot be used.
    """
    task = find_task(name)
    if not isinstance(task, Task) or not task.regression or len(task.columns) != 2:
        raise UserError(
            f"task {task.name} is not a similarity task: choose stsb, or a YAML file of kind similarity, "
            "with two columns of text and a value"
        )
    if data is not None and task.folder(data).is_dir():
        data = task.folder(data)
    split, examples = load_labelled(task, data)
    if len(examples) < 3:
        raise UserError(
            f"task {task.name}: {split} has {counted(len(examples), 'example')}; "
            "a correlation needs 3 or more"
        )
    first, second, labels = (tuple(examples[column]) for column in ("text", "pair", "label"))
    return Pairs(task.name, split, first, second, labels)


def spearman(
    encoder: ComparedEncoder,
    engine: Engine,
    pairs: Pairs,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """Spearman's correlation of cosine similarity with the labels, in points.

    Args:
        encoder: The encoder, for its tokenizer and pooling.
        engine: Computes the states.
        pairs: The task.
        watch: Called with the number of sentences done and the total.

    Raises:
        UserError: All similarities are the same.
    """
    texts = [*pairs.first, *pairs.second]
    vectors = embed(encoder, engine, texts, watch)  # (2 N, d)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosine = (vectors[: len(pairs.first)] * vectors[len(pairs.first) :]).sum(1)  # (N,)
    if not np.ptp(cosine) > 0:
        raise UserError(
            f"{encoder.name}, {engine.name}: all cosine similarities of {pairs.name} are the same"
        )
    return 100 * float(scipy.stats.spearmanr(cosine, pairs.scores).statistic)


def embed(
    encoder: ComparedEncoder,
    engine: Engine,
    texts: Sequence[str],
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Array:
    """Embeds texts, batched by length; texts that are too long for the model are truncated.

    Returns:
        (N, d), in the order of the texts.
    """
    limits = (encoder.positions, encoder.tokenizer.model_max_length, _MAX_LENGTH)
    limit = min(limit for limit in limits if limit is not None)
    ids = encoder.tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
    order = sorted(range(len(texts)), key=lambda index: len(ids[index]))
    vectors: list[Array] = [np.empty(0)] * len(texts)
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        longest = max(len(ids[index]) for index in chosen)
        batch = np.full((len(chosen), longest), encoder.tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(batch)
        for row, index in enumerate(chosen):
            batch[row, : len(ids[index])] = ids[index]
            mask[row, : len(ids[index])] = 1
        states = torch.from_numpy(engine.run(batch, mask)).double()  # (B, n, d)
        pooled = encoder.pooling(states, torch.from_numpy(mask).bool()).numpy()
        for row, index in enumerate(chosen):
            vectors[index] = pooled[row]
        watch(start + len(chosen), len(order))
    return np.stack(vectors)
