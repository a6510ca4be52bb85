"""SQuAD v1.1 and v2.0: spans of a text as answers, no answer among them."""

import json
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import load_dataset
from transformers import AutoModelForQuestionAnswering, PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.finetune.features import Features

_BEST = 20
"""Starts and ends of a window that are combined."""

_LONGEST = 30
"""Most tokens of an answer."""


@dataclass(frozen=True)
class Question:
    """A question on a text.

    Attributes:
        key: Its id.
        question: The question.
        context: The text.
        answers: The accepted answers, each with the character at which it begins; none: there is no answer.
    """

    key: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Squad:
    """A version of SQuAD.

    Attributes:
        name: What it is called.
        hub: Dataset on the Hub.
        files: Official file names by split.
        unanswerable: Whether some questions have no answer.
    """

    name: str
    hub: str
    files: Mapping[str, str]
    unanswerable: bool


SQUADS = {
    task.name: task
    for task in (
        Squad("squad", "rajpurkar/squad", {"train": "train-v1.1.json", "validation": "dev-v1.1.json"}, False),
        Squad(
            "squad_v2",
            "rajpurkar/squad_v2",
            {"train": "train-v2.0.json", "validation": "dev-v2.0.json"},
            True,
        ),
    )
}


def load_questions(task: Squad, folder: Path | None) -> dict[str, list[Question]]:
    """Loads the training and the validation split.

    Args:
        task: Which version.
        folder: Has SQuAD's own files (`train-v1.1.json`, `dev-v1.1.json`, ...), or `train.json`,
            `validation.json` of that format; None loads from the Hub.

    Raises:
        UserError: A file is missing, broken or empty, or an answer does not stand where it says.
    """
    return {split: _questions(task, folder, split) for split in task.files}


def _questions(task: Squad, folder: Path | None, split: str) -> list[Question]:
    if folder is None:
        place = f"{task.hub}:{split}"
        try:
            records: Any = load_dataset(task.hub, split=split)
        except Exception as error:  # of many kinds: no network, no such dataset
            reason = str(error).splitlines()[0]
            raise UserError(
                f"task {task.name} cannot be loaded from the Hub ({reason}); name a folder with --data"
            ) from None
    else:
        names = (task.files[split], f"{split}.json")
        path = next((folder / name for name in names if (folder / name).exists()), None)
        if path is None:
            raise UserError(f"task {task.name}: {folder} has neither {names[0]} nor {names[1]}")
        place, records = str(path), _records(path)
    found = []
    for record in records:
        answers = record["answers"]
        pairs = tuple(zip(answers["text"], answers["answer_start"], strict=True))
        texts = (record["question"], record["context"], *answers["text"])
        if not all(isinstance(text, str) for text in texts):
            raise UserError(
                f"task {task.name}: {place}, question {record['id']}: question, context or answer is no text"
            )
        for text, start in pairs:
            if type(start) is not int or not 0 <= start < len(record["context"]) or not text:
                raise UserError(
                    f"task {task.name}: {place}, question {record['id']}: the answer {text!r} at "
                    f"answer_start {start!r} is not inside of its context"
                )
            if record["context"][start : start + len(text)] != text:
                raise UserError(
                    f"task {task.name}: {place}, question {record['id']}: the answer {text!r} does not stand "
                    f"at character {start} of its context, which has "
                    f"{record['context'][start : start + len(text)]!r} there"
                )
        if not pairs and not task.unanswerable:
            raise UserError(
                f"task {task.name}: {place}, question {record['id']} has no answer; squad_v2 allows that"
            )
        found.append(Question(str(record["id"]), record["question"].strip(), record["context"], pairs))
    if not found:
        raise UserError(f"task {task.name}: {place} has no questions")
    twice, times = Counter(question.key for question in found).most_common(1)[0]
    if times > 1:
        raise UserError(f"task {task.name}: {place} has {times} questions with the id {twice}")
    return found


def _records(path: Path) -> list[dict[str, Any]]:
    """Reads SQuAD's own format as records like the Hub's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # JSON, or the encoding
        raise UserError(f"{path} is not JSON: {error}") from None
    try:
        return [
            {
                "id": question["id"],
                "question": question["question"],
                "context": paragraph["context"],
                "answers": {
                    key: [answer[key] for answer in question.get("answers", [])]
                    for key in ("text", "answer_start")
                },
            }
            for article in content["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not in SQuAD's format: {error} is missing or of another kind") from None


class QuestionAnswering:
    """A SQuAD with its data, ready for a model; a `Problem`.

    Long texts are read in overlapping windows. The score of a span is the sum of its two logits; where there
    may be no answer, it has to beat the score of `[CLS]` (BERT), by 0.

    Args:
        task: Which version.
        data: Of `load_questions`.
        tokenizer: The model's; a fast one.
        length: Most tokens of a window with its question.
    """

    outputs: tuple[str, ...] = ("start_logits", "end_logits")
    metrics: tuple[str, ...] = ("f1", "exact_match")
    validation: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("validation",)  # SQuAD's test set is not public: its tools take this one

    def __init__(
        self,
        task: Squad,
        data: Mapping[str, Sequence[Question]],
        tokenizer: PreTrainedTokenizerBase,
        length: int,
    ) -> None:
        self._task = task
        self.name = task.name
        self._questions = {split: list(questions) for split, questions in data.items()}
        self._tokenizer = tokenizer
        self._length = length
        self._windows: dict[str, list[_Window]] = {}
        self.features: Mapping[str, Features] = {split: self._encoded(split) for split in data}

    def load(self, source: str, **changes: Any) -> PreTrainedModel:
        return AutoModelForQuestionAnswering.from_pretrained(source, trust_remote_code=False, **changes)

    def _encoded(self, split: str) -> Features:
        questions = self._questions[split]
        special = self._tokenizer.num_special_tokens_to_add(pair=True)
        most = (self._length - special) // 2  # a question must leave room for its text
        asked = self._tokenizer([each.question for each in questions], add_special_tokens=False)["input_ids"]
        texts = [
            each.question if len(ids) <= most else self._tokenizer.decode(ids[:most])
            for each, ids in zip(questions, asked, strict=True)
        ]
        encoded = self._tokenizer(
            texts,
            [each.context for each in questions],
            truncation="only_second",
            max_length=self._length,
            stride=self._length // 4,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        names = self._tokenizer.model_input_names
        rows, windows = [], []
        for number, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            inside = [segment == 1 for segment in encoded.sequence_ids(number)]
            offsets = encoded["offset_mapping"][number]
            windows.append(_Window(owner, offsets, inside))
            start, end = _target(offsets, inside, questions[owner].answers)
            row = {name: encoded[name][number] for name in names}
            rows.append({**row, "start_positions": start, "end_positions": end})
        self._windows[split] = windows
        targets = ("start_positions", "end_positions") if split == "train" else ()
        return Features(rows, targets, self._tokenizer)

    def decide(self, split: str, said: list[list[Any]]) -> dict[str, str]:
        questions = self._questions[split]
        best = [(-np.inf, "")] * len(questions)
        empty = [np.inf] * len(questions)
        for window, start, end in zip(self._windows[split], *said, strict=True):
            owner = window.owner
            empty[owner] = min(empty[owner], float(start[0] + end[0]))
            found = _span(window, start, end)
            if found is not None and found[0] > best[owner][0]:
                begin, stop = window.offsets[found[1]][0], window.offsets[found[2]][1]
                best[owner] = (found[0], questions[owner].context[begin:stop])
        return {
            question.key: "" if self._task.unanswerable and none >= score else text
            for question, (score, text), none in zip(questions, best, empty, strict=True)
        }

    def measure(self, split: str, predictions: dict[str, str]) -> dict[str, float]:
        return squad_metrics(self._questions[split], predictions)

    def write(self, folder: Path, split: str, predictions: dict[str, str]) -> None:
        (folder / "predictions.json").write_text(json.dumps(predictions) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Window:
    """A part of a text that fits a model.

    Attributes:
        owner: Number of the question.
        offsets: First and last character of each token.
        inside: Whether a token is of the text.
    """

    owner: int
    offsets: Sequence[tuple[int, int]]
    inside: Sequence[bool]


def _target(
    offsets: Sequence[tuple[int, int]], inside: Sequence[bool], answers: Sequence[tuple[str, int]]
) -> tuple[int, int]:
    """First and last token of the first answer; those of `[CLS]` where the window does not hold it."""
    if not answers:
        return 0, 0
    text, begin = answers[0]
    end = begin + len(text)
    holds = [n for n, (a, b) in enumerate(offsets) if inside[n] and b > begin and a < end]
    places = [n for n, within in enumerate(inside) if within]
    if not holds or offsets[places[0]][0] > begin or offsets[places[-1]][1] < end:
        return 0, 0
    return holds[0], holds[-1]


def _span(window: _Window, start: Any, end: Any) -> tuple[float, int, int] | None:
    """The best span of a window with its score; None where the window has no text."""
    places = np.flatnonzero(window.inside)
    begins = places[np.argsort(-start[places], kind="stable")[:_BEST]]
    ends = places[np.argsort(-end[places], kind="stable")[:_BEST]]
    pairs = [
        (float(start[a] + end[b]), int(a), int(b)) for a in begins for b in ends if 0 <= b - a < _LONGEST
    ]
    if not pairs and len(places):
        place = int(places[np.argmax(start[places] + end[places])])
        return float(start[place] + end[place]), place, place
    return max(pairs, default=None)


def squad_metrics(questions: Sequence[Question], predictions: Mapping[str, str]) -> dict[str, float]:
    """SQuAD's F1 and exact match, each a mean over the questions of the best over their answers.

    For a question without an answer both are 1 if nothing was predicted, else 0 (Rajpurkar et al. 2018).
    """
    f1, exact = [], []
    for question in questions:
        said = predictions[question.key]
        # An answer of articles and punctuation only is none, as the official script has it.
        accepted = [text for text, _ in question.answers if _plain(text)] or [""]
        f1.append(max(_overlap(text, said) for text in accepted))
        exact.append(max(float(_plain(text) == _plain(said)) for text in accepted))
    return {"f1": float(np.mean(f1)), "exact_match": float(np.mean(exact))}


def _overlap(truth: str, said: str) -> float:
    """F1 of the words in common."""
    true, told = _plain(truth).split(), _plain(said).split()
    if not true or not told:
        return float(true == told)
    common = sum((Counter(true) & Counter(told)).values())
    return 2 * common / (len(true) + len(told))


def _plain(text: str) -> str:
    """Lower case, without punctuation, articles and extra white space."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())
