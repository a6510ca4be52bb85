"""Questions on texts as input of a model: windows of a text, and the answers."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForQuestionAnswering, PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.finetune.features import Features, room_for_text
from autobert_zero.finetune.loading import load_with_head
from autobert_zero.finetune.squad.metrics import squad_metrics
from autobert_zero.finetune.squad.spans import AnswerSpan, TextWindow, best_span, target_tokens
from autobert_zero.finetune.squad.task import Question, Squad


class QuestionAnswering:
    """A version of SQuAD with its data; a `Problem`.

    Long texts are read in overlapping windows. The score of a span is the sum of its two logits. Where no
    answer is possible, a span has to score higher than `[CLS]` (BERT), wherever that token is.

    Args:
        task: The version of SQuAD.
        data: Result of `load_questions`.
        tokenizer: Tokenizer of the model; a fast one.
        length: Maximum tokens of a window with its question.

    Raises:
        UserError: The tokenizer does not know the position of a token in the text, or has no token for no
            answer; or the length leaves no room for text.
    """

    outputs: tuple[str, ...] = ("start_logits", "end_logits")
    notes: tuple[str, ...] = ()
    pooled = False
    metrics: tuple[str, ...] = ("f1", "exact_match")
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("validation",)  # SQuAD's test set is not public: its tools take this one
    scored: tuple[str, ...] = ("validation",)

    def __init__(
        self,
        task: Squad,
        data: Mapping[str, Sequence[Question]],
        tokenizer: PreTrainedTokenizerBase,
        length: int,
    ) -> None:
        if not tokenizer.is_fast:
            raise UserError(f"task {task.name} needs a fast tokenizer, which knows the place of a token")
        if task.unanswerable and tokenizer.cls_token_id is None:
            raise UserError(f"task {task.name} needs a tokenizer with [CLS], which stands for no answer")
        self._task = task
        self.name = task.name
        self._questions = {split: list(questions) for split, questions in data.items()}
        self._tokenizer = copy.deepcopy(tokenizer)
        self._tokenizer.padding_side = "right"  # on the left it would move the targets
        self._length = length
        self.cut = 0
        self._windows: dict[str, list[TextWindow]] = {}
        self.features: Mapping[str, Features] = {split: self._encoded(split) for split in data}

    def load(self, source: str, **changes: Any) -> PreTrainedModel:
        return load_with_head(AutoModelForQuestionAnswering, source, **changes)

    def _encoded(self, split: str) -> Features:
        questions = self._questions[split]
        room = room_for_text(self._tokenizer, self._length, 2)
        limit = room // 2  # a question must leave room for its text
        encoded = self._tokenizer(
            [self._cut(question.question, limit) for question in questions],
            [question.context for question in questions],
            truncation="only_second",
            max_length=self._length,
            # Windows have to advance, however little room a question leaves.
            stride=min(self._length // 4, room - limit - 1),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        names = self._tokenizer.model_input_names
        rows, windows = [], []
        for number, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            inside = [segment == 1 for segment in encoded.sequence_ids(number)]
            offsets = encoded["offset_mapping"][number]
            window = TextWindow(owner, offsets, inside, self._no_answer(encoded["input_ids"][number]))
            windows.append(window)
            start, end = target_tokens(window, questions[owner].answers)
            row = {name: encoded[name][number] for name in names}
            rows.append({**row, "start_positions": start, "end_positions": end})
        self._windows[split] = windows
        targets = ("start_positions", "end_positions") if split == "train" else ()
        return Features(rows, targets, self._tokenizer)

    def _cut(self, whole: str, limit: int) -> str:
        """Cuts a question to at most `limit` tokens."""
        question = whole
        while True:
            encoded = self._tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
            if len(encoded["input_ids"]) <= limit:
                self.cut += question != whole
                return question
            # Part of a word may have more tokens than the whole word: then try a shorter one.
            question = question[: min(encoded["offset_mapping"][limit - 1][1], len(question) - 1)]

    def _no_answer(self, tokens: Sequence[int]) -> int:
        """The index of the token for no answer: the first in BERT, the last in XLNet."""
        mark = self._tokenizer.cls_token_id
        return tokens.index(mark) if mark in tokens else 0

    def decide(self, split: str, outputs: list[list[Any]]) -> dict[str, str]:
        return {
            question.key: ""
            if self._task.unanswerable and none >= span.score
            else question.context[span.begin : span.end]
            for question, (span, none) in zip(self._questions[split], self.spans(split, outputs), strict=True)
        }

    def spans(self, split: str, outputs: list[list[Any]]) -> list[tuple[AnswerSpan, float]]:
        """The best span of each text, and the score of no answer: the lowest over all windows."""
        count = len(self._questions[split])
        best = [AnswerSpan(-math.inf, 0, 0, 0.0, 0.0)] * count
        empty = [math.inf] * count
        for window, start, end in zip(self._windows[split], *outputs, strict=True):
            owner = window.owner
            empty[owner] = min(empty[owner], float(start[window.no_answer] + end[window.no_answer]))
            span = best_span(window, start, end)
            if span is not None and span.score > best[owner].score:
                best[owner] = span
        return list(zip(best, empty, strict=True))

    def measure(self, split: str, predictions: dict[str, str]) -> dict[str, float]:
        return squad_metrics(self._questions[split], predictions)

    def baselines(self) -> Mapping[str, Mapping[str, Any]]:
        empty = {split: {question.key: "" for question in self._questions[split]} for split in self.scored}
        return {"no answer": empty} if self._task.unanswerable else {}

    def constant(self, predictions: dict[str, str]) -> str | None:
        return None if any(predictions.values()) else "no answer"

    def write(self, folder: Path, split: str, predictions: dict[str, str]) -> None:
        write_text(folder / "predictions.json", json.dumps(predictions) + "\n")
