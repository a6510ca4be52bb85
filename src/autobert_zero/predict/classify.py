"""Predicts labels with probabilities, or the values of a regression, for texts and pairs of texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from autobert_zero.finetune.features import Features, encode_texts
from autobert_zero.finetune.models import Pretrained
from autobert_zero.finetune.texts.task import TEXT_COLUMNS
from autobert_zero.predict.head import Head, Record, Runner, class_names, max_length, shortest
from autobert_zero.predict.read import Row, TaskColumns

MULTI_LABEL = "multi_label_classification"
_THRESHOLD = 0.5
"""Probability above which a label is assigned, if a text can have several."""


def encode(model: Pretrained, rows: Sequence[Row], length: int | None) -> tuple[Features, int]:
    """Tokenises texts, or pairs of texts; also returns the number of texts that are cut."""
    columns = list(zip(*(row.cells for row in rows), strict=True))
    encoded, cut = encode_texts(model.tokenizer, columns[0], columns[1] if len(columns) > 1 else None, length)
    return Features(encoded, (), model.tokenizer), cut


def trained_columns(model: Pretrained) -> TaskColumns:
    """The columns that a model was fine-tuned on; any one or two if its config does not name them."""
    names = getattr(model.config, TEXT_COLUMNS, None)
    if not isinstance(names, list) or len(names) not in Head.task_columns.counts:
        return Head.task_columns
    return TaskColumns(counts=(len(names),), defaults=(tuple(map(str, names)),))


class LabelHead(Head):
    """Predicts classes with softmax probabilities, or several labels at once with sigmoid probabilities."""

    auto = AutoModelForSequenceClassification

    def __init__(self, model: Pretrained) -> None:
        self._model = model
        self._names = class_names(model)
        self.task_columns = trained_columns(model)
        self._multiple = model.config.problem_type == MULTI_LABEL
        self.about = f"{'several labels' if self._multiple else 'one label'} of {', '.join(self._names)}"

    def predict(self, rows: Sequence[Row], runner: Runner) -> tuple[list[Record], int]:
        features, cut = encode(self._model, rows, max_length(self._model))
        return [self._record(values) for values in runner(features, self._probabilities)], cut

    def empty_record(self, row: Row) -> Record:
        probabilities = dict.fromkeys(self._names)
        if self._multiple:
            return {"labels": None, "probabilities": probabilities}
        return {"label": None, "probability": None, "probabilities": probabilities}

    def flatten(self, record: Record) -> dict[str, Any]:
        cells = {f"probability_{name}": value for name, value in record["probabilities"].items()}
        if self._multiple:
            return {"labels": "|".join(record["labels"] or ()), **cells}
        return {"label": record["label"], "probability": record["probability"], **cells}

    def _probabilities(self, output: Any, inputs: Mapping[str, Tensor]) -> Sequence[Any]:
        logits = output.logits.float()  # (B, c)
        probabilities = torch.sigmoid(logits) if self._multiple else torch.softmax(logits, -1)
        return list(probabilities.cpu().numpy())

    def _record(self, probabilities: Any) -> Record:
        named = dict(zip(self._names, shortest(probabilities), strict=True))
        if self._multiple:
            return {
                "labels": [name for name, value in named.items() if value > _THRESHOLD],
                "probabilities": named,
            }
        label = self._names[int(probabilities.argmax())]
        return {"label": label, "probability": named[label], "probabilities": named}


class ScoreHead(Head):
    """Predicts the value, or the values, of a regression."""

    auto = AutoModelForSequenceClassification

    def __init__(self, model: Pretrained) -> None:
        self._model = model
        self._names = class_names(model)
        self.task_columns = trained_columns(model)
        self.about = "a score" if len(self._names) == 1 else f"scores {', '.join(self._names)}"

    def predict(self, rows: Sequence[Row], runner: Runner) -> tuple[list[Record], int]:
        features, cut = encode(self._model, rows, max_length(self._model))
        results = runner(features, lambda output, inputs: list(output.logits.float().cpu().numpy()))
        return [self._record(shortest(values)) for values in results], cut

    def empty_record(self, row: Row) -> Record:
        return self._record([None] * len(self._names))

    def flatten(self, record: Record) -> dict[str, Any]:
        if "score" in record:
            return record
        return {f"score_{name}": value for name, value in record["scores"].items()}

    def _record(self, values: Sequence[float | None]) -> Record:
        if len(values) == 1:
            return {"score": values[0]}
        return {"scores": dict(zip(self._names, values, strict=True))}
