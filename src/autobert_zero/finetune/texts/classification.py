"""Classification and regression of sentences and pairs of sentences."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.finetune.baselines import text_baselines
from autobert_zero.finetune.features import Features, encode_texts
from autobert_zero.finetune.loading import load_with_head
from autobert_zero.finetune.metrics import METRICS
from autobert_zero.finetune.texts.submission import write_submission
from autobert_zero.finetune.texts.task import TEXT_COLUMNS, Task

_CONSTANT = 0.01
"""Predicted values within this share of the labels' range count as constant."""


class Classification:
    """A task with its data; a `Problem`.

    Args:
        task: The task.
        data: Result of `load_splits`.
        tokenizer: Tokenizer of the model.
        length: Maximum tokens; longer texts are cut, the longer of a pair first.
    """

    outputs: tuple[str, ...] = ("logits",)
    notes: tuple[str, ...] = ()
    pooled = True

    def __init__(
        self, task: Task, data: Mapping[str, Dataset], tokenizer: PreTrainedTokenizerBase, length: int
    ) -> None:
        self._task = task
        self.name = task.name
        self.metrics = task.metrics
        self.validation = task.validation
        self.test = tuple(split for split in task.test if split in data)
        self._names = task.names or task.labels
        self._data = data
        self._labels = {
            split: np.asarray(examples["label"])
            for split, examples in data.items()
            if "label" in examples.column_names
        }
        self.scored = tuple(split for split in (*task.validation, *self.test) if split in self._labels)
        self.cut = 0
        features = {}
        for split, examples in data.items():
            pairs = examples["pair"] if "pair" in examples.column_names else None
            rows, cut = encode_texts(tokenizer, examples["text"], pairs, length)
            self.cut += cut
            if split in self._labels:
                rows = [{**row, "labels": label} for row, label in zip(rows, examples["label"], strict=True)]
            targets = ("labels",) if split in self._labels else ()
            features[split] = Features(rows, targets, tokenizer)
        self.features: Mapping[str, Features] = features

    def load(self, source: str, **changes: Any) -> PreTrainedModel:
        task = self._task
        head: dict[str, Any] = {"problem_type": "regression", "num_labels": 1}
        if not task.regression:
            names = self._names
            head = {
                "problem_type": "single_label_classification",
                "id2label": dict(enumerate(names)),
                "label2id": {name: number for number, name in enumerate(names)},
            }
        model = load_with_head(AutoModelForSequenceClassification, source, **head, **changes)
        setattr(model.config, TEXT_COLUMNS, list(task.columns))
        return model

    def decide(self, split: str, outputs: list[list[Any]]) -> list[Any]:
        logits = np.stack(outputs[0])  # (N, c)
        decided = logits[:, 0] if self._task.regression else logits.argmax(-1)
        return list(decided.tolist())

    def measure(self, split: str, predictions: list[Any]) -> dict[str, float]:
        return {name: METRICS[name](np.asarray(predictions), self._labels[split]) for name in self.metrics}

    def baselines(self) -> Mapping[str, Mapping[str, Any]]:
        return text_baselines(self._data, self.scored, self._task.regression)

    def constant(self, predictions: list[Any]) -> str | None:
        if self._task.regression:
            spread = max(predictions) - min(predictions)
            same = spread <= _CONSTANT * float(np.ptp(self._labels["train"]))
            return f"{predictions[0]:.3g}" if same else None
        return self._names[predictions[0]] if len(set(predictions)) == 1 else None

    def write(self, folder: Path, split: str, predictions: list[Any]) -> None:
        write_submission(folder, self._task, split, predictions)
