"""The questions of SQuAD, from its own files or the Hub, checked before anything is trained."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autobert_zero.data.tables import check_unicode, read_whole_lines, unique_pairs
from autobert_zero.errors import UserError
from autobert_zero.finetune.splits import hub_split, naming_task, split_file
from autobert_zero.finetune.squad.task import Question, Squad


def load_questions(task: Squad, folder: Path | None) -> dict[str, list[Question]]:
    """Loads the training and the validation split.

    Args:
        task: The version of SQuAD.
        folder: Folder with SQuAD's own files (`train-v1.1.json`, `dev-v1.1.json`, ...), or `train.json` and
            `validation.json` of that format; None for the Hub.

    Raises:
        UserError: A file is missing, broken or empty, an answer is not at its position, or `is_impossible`
            contradicts the answers.
    """
    with naming_task(task.name):
        return {split: _questions(task, folder, split) for split in task.files}


def _questions(task: Squad, folder: Path | None, split: str) -> list[Question]:
    if folder is None:
        place, loaded = hub_split(task.hub, None, split)
        records: Iterable[Any] | None = loaded
        if records is None:
            raise UserError(f"{place} is missing")
    else:
        names = (task.files[split], f"{split}.json")
        path = split_file(folder, split, names)
        if path is None:
            raise UserError(f"{folder} has neither {names[0]} nor {names[1]}")
        place, records = str(path), _records(path)
    questions = [_question(task, f"{place}, question {record['id']}", record) for record in records]
    if not questions:
        raise UserError(f"{place} has no questions")
    key, count = Counter(question.key for question in questions).most_common(1)[0]
    if count > 1:
        raise UserError(f"{place} has {count} questions with the id {key}")
    return questions


def _question(task: Squad, place: str, record: Mapping[str, Any]) -> Question:
    """Checks a record and makes a question from it."""
    answers, context = record["answers"], record["context"]
    pairs = tuple(zip(answers["text"], answers["answer_start"], strict=True))
    if not all(isinstance(text, str) for text in (record["question"], context, *answers["text"])):
        raise UserError(f"{place}: question, context or answer is not text")
    check_unicode(record["question"] + context, f"{place}: question or context")
    for text, begin in pairs:
        if type(begin) is not int or not 0 <= begin < len(context) or not text:
            raise UserError(
                f"{place}: the answer {text!r} at answer_start {begin!r} is not inside of its context"
            )
        there = context[begin : begin + len(text)]
        if there != text:
            raise UserError(
                f"{place}: the answer {text!r} does not stand at character {begin} of its context, which has "
                f"{there!r} there"
            )
    impossible = record.get("is_impossible")  # the Hub's records have no such field
    if not isinstance(impossible, bool | None):
        raise UserError(f"{place}: is_impossible must be true or false, not {impossible!r}")
    if impossible and pairs:
        raise UserError(f"{place}: is_impossible is true, but there is the answer {pairs[0][0]!r}")
    if not pairs and not task.unanswerable:
        raise UserError(f"{place} has no answer; squad_v2 allows that")
    if impossible is False and not pairs:
        raise UserError(f"{place} has no answer, but is_impossible is false")
    return Question(str(record["id"]), record["question"].strip(), context, pairs)


def _records(path: Path) -> list[dict[str, Any]]:
    """Reads SQuAD's own format as records like the Hub's."""
    try:
        content = json.loads("".join(read_whole_lines(path)), object_pairs_hook=unique_pairs)
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
