"""SQuAD v1.1 and v2.0: spans of a text as answers, no answer among them."""

import copy
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
from scipy.special import softmax
from transformers import AutoModelForQuestionAnswering, PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.data.tables import read_lines, unique_pairs
from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.finetune.features import Features
from autobert_zero.finetune.models import load_with_head
from autobert_zero.sources import check_hub

_BEST = 20
"""Starts and ends of a window that are combined."""

_LONGEST = 30
"""Maximum tokens of an answer."""


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

    def folder(self, data: Path) -> Path:
        """Where its files are in a folder of tasks."""
        return data / self.name


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
        UserError: A file is missing, broken or empty, an answer does not stand where it says, or
            `is_impossible` says something else than the answers.
    """
    return {split: _questions(task, folder, split) for split in task.files}


def _questions(task: Squad, folder: Path | None, split: str) -> list[Question]:
    if folder is None:
        place = f"{task.hub}:{split}"
        try:
            check_hub(task.hub, "dataset", "dataset")
            records: Any = load_dataset(task.hub, split=split)
        except Exception as error:  # of many kinds: no network, no such dataset
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"task {task.name} cannot be loaded from the Hub ({reason}); name a folder with --data"
            ) from None
    else:
        names = (task.files[split], f"{split}.json")
        path = next((folder / name for name in names if (folder / name).exists()), None)
        if path is None:
            raise UserError(f"task {task.name}: {folder} has neither {names[0]} nor {names[1]}")
        place, records = str(path), _records(path)
    found = [_question(task, f"{place}, question {record['id']}", record) for record in records]
    if not found:
        raise UserError(f"task {task.name}: {place} has no questions")
    twice, times = Counter(question.key for question in found).most_common(1)[0]
    if times > 1:
        raise UserError(f"task {task.name}: {place} has {times} questions with the id {twice}")
    return found


def _question(task: Squad, place: str, record: Mapping[str, Any]) -> Question:
    """Checks a record and makes a question of it."""
    start = f"task {task.name}: {place}"
    answers, context = record["answers"], record["context"]
    pairs = tuple(zip(answers["text"], answers["answer_start"], strict=True))
    if not all(isinstance(text, str) for text in (record["question"], context, *answers["text"])):
        raise UserError(f"{start}: question, context or answer is no text")
    for text, begin in pairs:
        if type(begin) is not int or not 0 <= begin < len(context) or not text:
            raise UserError(
                f"{start}: the answer {text!r} at answer_start {begin!r} is not inside of its context"
            )
        there = context[begin : begin + len(text)]
        if there != text:
            raise UserError(
                f"{start}: the answer {text!r} does not stand at character {begin} of its context, which has "
                f"{there!r} there"
            )
    impossible = record.get("is_impossible")  # the Hub's records have no such field
    if not isinstance(impossible, bool | None):
        raise UserError(f"{start}: is_impossible is true or false, not {impossible!r}")
    if impossible and pairs:
        raise UserError(f"{start}: is_impossible is true, but there is the answer {pairs[0][0]!r}")
    if not pairs and not task.unanswerable:
        raise UserError(f"{start} has no answer; squad_v2 allows that")
    if impossible is False and not pairs:
        raise UserError(f"{start} has no answer, but is_impossible is false")
    return Question(str(record["id"]), record["question"].strip(), context, pairs)


def _records(path: Path) -> list[dict[str, Any]]:
    """Reads SQuAD's own format as records like the Hub's."""
    try:
        content = json.loads("".join(read_lines(path)), object_pairs_hook=unique_pairs)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    except RecursionError:
        raise UserError(f"{path} is not in SQuAD's format: nested too deeply") from None
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
                "is_impossible": question.get("is_impossible"),
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
    may be no answer, it has to beat the score of `[CLS]` (BERT), wherever that stands, by 0.

    Args:
        task: Which version.
        data: Of `load_questions`.
        tokenizer: The model's; a fast one.
        length: Maximum tokens of a window with its question.

    Raises:
        UserError: The tokenizer cannot tell where in the text a token stands, or has no token that stands for
            no answer.
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
        self._windows: dict[str, list[_Window]] = {}
        self.features: Mapping[str, Features] = {split: self._encoded(split) for split in data}

    def load(self, source: str, **changes: Any) -> PreTrainedModel:
        return load_with_head(AutoModelForQuestionAnswering, source, **changes)

    def _encoded(self, split: str) -> Features:
        questions = self._questions[split]
        special = self._tokenizer.num_special_tokens_to_add(pair=True)
        limit = (self._length - special) // 2  # a question must leave room for its text
        encoded = self._tokenizer(
            [self._cut(each.question, limit) for each in questions],
            [each.context for each in questions],
            truncation="only_second",
            max_length=self._length,
            # Windows have to move on, whatever little room a question leaves.
            stride=min(self._length // 4, self._length - special - limit - 1),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        names = self._tokenizer.model_input_names
        rows, windows = [], []
        for number, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            inside = [segment == 1 for segment in encoded.sequence_ids(number)]
            offsets = encoded["offset_mapping"][number]
            window = _Window(owner, offsets, inside, self._nothing(encoded["input_ids"][number]))
            windows.append(window)
            start, end = _target(window, questions[owner].answers)
            row = {name: encoded[name][number] for name in names}
            rows.append({**row, "start_positions": start, "end_positions": end})
        self._windows[split] = windows
        targets = ("start_positions", "end_positions") if split == "train" else ()
        return Features(rows, targets, self._tokenizer)

    def _cut(self, whole: str, limit: int) -> str:
        """The beginning of a question, at most `limit` tokens."""
        question = whole
        while True:
            encoded = self._tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
            if len(encoded["input_ids"]) <= limit:
                self.cut += question != whole
                return question
            # Half a word may give more tokens than it had in the whole one: then a shorter one is tried.
            question = question[: min(encoded["offset_mapping"][limit - 1][1], len(question) - 1)]

    def _nothing(self, tokens: Sequence[int]) -> int:
        """The token that stands for no answer: the first of BERT's, the last of XLNet's."""
        mark = self._tokenizer.cls_token_id
        return tokens.index(mark) if mark in tokens else 0

    def decide(self, split: str, said: list[list[Any]]) -> dict[str, str]:
        return {
            question.key: ""
            if self._task.unanswerable and none >= span.score
            else question.context[span.begin : span.end]
            for question, (span, none) in zip(self._questions[split], self.spans(split, said), strict=True)
        }

    def spans(self, split: str, outputs: list[list[Any]]) -> list[tuple["Span", float]]:
        """The best span of each text, and the score of no answer, the lowest of all windows."""
        count = len(self._questions[split])
        best = [Span(-np.inf, 0, 0, 0.0, 0.0)] * count
        empty = [np.inf] * count
        for window, start, end in zip(self._windows[split], *outputs, strict=True):
            owner = window.owner
            empty[owner] = min(empty[owner], float(start[window.nothing] + end[window.nothing]))
            span = _span(window, start, end)
            if span is not None and span.score > best[owner].score:
                best[owner] = span
        return list(zip(best, empty, strict=True))

    def measure(self, split: str, predictions: dict[str, str]) -> dict[str, float]:
        return squad_metrics(self._questions[split], predictions)

    def baselines(self) -> Mapping[str, Mapping[str, Any]]:
        empty = {split: {each.key: "" for each in self._questions[split]} for split in self.scored}
        return {"no answer": empty} if self._task.unanswerable else {}

    def constant(self, predictions: dict[str, str]) -> str | None:
        return None if any(predictions.values()) else "no answer"

    def write(self, folder: Path, split: str, predictions: dict[str, str]) -> None:
        write_text(folder / "predictions.json", json.dumps(predictions) + "\n")


@dataclass(frozen=True)
class Span:
    """A part of a text as the answer.

    Attributes:
        score: The sum of its two logits.
        begin: Its first character.
        end: The character after its last one.
        probability: Of its start times that of its end, each a softmax over the window's text and the token
            that stands for no answer.
        nothing: The probability of no answer in this window, likewise.
    """

    score: float
    begin: int
    end: int
    probability: float
    nothing: float


@dataclass(frozen=True)
class _Window:
    """A part of a text that fits a model.

    Attributes:
        owner: Number of the question.
        offsets: First and last character of each token.
        inside: Whether a token is of the text.
        nothing: The token that stands for no answer.
    """

    owner: int
    offsets: Sequence[tuple[int, int]]
    inside: Sequence[bool]
    nothing: int


def _target(window: _Window, answers: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """First and last token of the first answer; those of no answer where the window does not hold it."""
    if not answers:
        return window.nothing, window.nothing
    offsets, inside = window.offsets, window.inside
    text, begin = answers[0]
    end = begin + len(text)
    holds = [n for n, (a, b) in enumerate(offsets) if inside[n] and b > begin and a < end]
    places = [n for n, within in enumerate(inside) if within]
    if not holds or offsets[places[0]][0] > begin or offsets[places[-1]][1] < end:
        return window.nothing, window.nothing
    return holds[0], holds[-1]


def _span(window: _Window, start: Any, end: Any) -> Span | None:
    """The best span of a window; None where the window has no text."""
    tokens = _best_tokens(window, start, end)
    if tokens is None:
        return None
    score, first, last = tokens
    kept = [place for place, inside in enumerate(window.inside) if inside or place == window.nothing]
    begins, ends = softmax(start[kept]), softmax(end[kept])
    probability = begins[kept.index(first)] * ends[kept.index(last)]
    nothing = kept.index(window.nothing)
    return Span(
        score,
        window.offsets[first][0],
        window.offsets[last][1],
        float(probability),
        float(begins[nothing] * ends[nothing]),
    )


def _best_tokens(window: _Window, start: Any, end: Any) -> tuple[float, int, int] | None:
    """The score of the best span of a window with its first and last token; None where it has no text."""
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
