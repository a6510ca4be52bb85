"""SQuAD: files, windows, spans, metrics, and a language in which the answer is easy to find."""

import json
from pathlib import Path
from random import Random
from typing import Any

import hf_samples
import numpy as np
import pytest
import tiny
from tokenizers import Tokenizer, models, pre_tokenizers

from autobert_zero.errors import UserError
from autobert_zero.finetune.squad import (
    SQUADS,
    Question,
    QuestionAnswering,
    load_questions,
    squad_metrics,
)
from autobert_zero.hf import AutoBertZeroForMaskedLM
from autobert_zero.hf.tokenizer import as_berts

WORDS = ["where", "is", "it", "here", "red", "blue", "green", "old", "new", "far"]


def tokenizer(length: int = 32) -> Any:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return as_berts(made, length)


def question(context: str, *answers: str, key: str = "q") -> Question:
    return Question(key, "where is it", context, tuple((text, context.index(text)) for text in answers))


def file_of(questions: list[Question]) -> dict[str, Any]:
    paragraphs = [
        {
            "context": each.context,
            "qas": [
                {
                    "id": each.key,
                    "question": each.question,
                    "answers": [{"text": text, "answer_start": start} for text, start in each.answers],
                }
            ],
        }
        for each in questions
    ]
    return {"version": "x", "data": [{"title": "t", "paragraphs": paragraphs}]}


@pytest.mark.parametrize(
    ("answers", "said", "f1", "exact"),
    [
        (("the red car",), "Red car!", 1.0, 1.0),
        (("red car", "car"), "car", 1.0, 1.0),
        (("a red old car",), "red car", 0.8, 0.0),
        (("red",), "blue", 0.0, 0.0),
        (("red",), "", 0.0, 0.0),
        ((), "", 1.0, 1.0),
        ((), "red", 0.0, 0.0),
        (("red red",), "red", 2 / 3, 0.0),
    ],
)
def test_the_metrics_by_hand(answers: tuple[str, ...], said: str, f1: float, exact: float) -> None:
    asked = Question("q", "?", " ".join(answers), tuple((text, 0) for text in answers))
    assert squad_metrics([asked], {"q": said}) == pytest.approx({"f1": f1, "exact_match": exact})


def test_every_answer_is_in_a_window_and_comes_back() -> None:
    """Certain logits at the target of any window that holds the answer give the answer's text."""
    random = Random(0)
    asked = []
    for number in range(40):
        words = random.choices(WORDS[4:], k=random.randint(1, 60))
        begin = random.randrange(len(words))
        start = len(" ".join([*words[:begin], ""]))
        text = " ".join(words[begin : begin + random.randint(1, 3)])
        asked.append(Question(str(number), "where is it", " ".join(words), ((text, start),)))
    problem = QuestionAnswering(SQUADS["squad"], {"train": asked, "validation": asked}, tokenizer(), 20)
    rows = problem.features["train"].rows
    assert max(len(row["input_ids"]) for row in rows) <= 20
    said: list[list[Any]] = [[], []]
    for row in rows:
        for column, name in zip(said, ("start_positions", "end_positions"), strict=True):
            logits = np.zeros(len(row["input_ids"]))
            logits[row[name]] = 10.0
            column.append(logits)
    predictions = problem.decide("validation", said)
    assert predictions == {each.key: each.answers[0][0] for each in asked}
    assert problem.measure("validation", predictions) == {"f1": 1.0, "exact_match": 1.0}


def test_no_answer_where_the_first_token_wins() -> None:
    asked = [question("red blue"), question("red blue", "blue", key="p")]
    problem = QuestionAnswering(SQUADS["squad_v2"], {"train": asked, "validation": asked}, tokenizer(), 20)
    assert [row["start_positions"] for row in problem.features["train"].rows] == [0, 6]
    flat = np.zeros(8)
    flat[0] = 1.0
    sharp = np.zeros(8)
    sharp[6] = 9.0
    assert problem.decide("validation", [[flat, sharp], [flat, sharp]]) == {"q": "", "p": "blue"}


def test_it_learns_through_the_command_line(tmp_path: Path) -> None:
    """The answer is the word after `here`."""
    data, model, out = tmp_path / "data", tmp_path / "model", tmp_path / "out"
    data.mkdir()
    random = Random(0)
    for name, count in (("train-v1.1.json", 400), ("dev-v1.1.json", 40)):
        asked = []
        for number in range(count):
            words = random.choices(WORDS[7:], k=5)
            place = random.randrange(6)
            answer = random.choice(WORDS[4:7])
            context = " ".join([*words[:place], "here", answer, *words[place:]])
            asked.append(question(context, answer, key=str(number)))
        (data / name).write_text(json.dumps(file_of(asked)))
    config = hf_samples.config(hidden_dropout_prob=0.0)
    AutoBertZeroForMaskedLM(config).save_pretrained(model)
    tokenizer().save_pretrained(model)
    options = ("--rates", "1e-2", "--seeds", 1, "--epochs", 4, "--batch-size", 16)
    done = tiny.command(
        "finetune", "--model", model, "--task", "squad", "--data", data, "--out", out, *options
    )
    assert done.code == 0, done.err
    score = json.loads((out / "score.json").read_text())["mean"]["validation"]
    assert score["f1"] > 0.9
    predictions = json.loads((out / "predictions.json").read_text())
    assert predictions.keys() == {str(number) for number in range(40)}


def test_bad_files_are_named(tmp_path: Path) -> None:
    good = file_of([question("red blue", "blue")])
    (tmp_path / "train.json").write_text(json.dumps(good))

    def refused(content: str, task: str = "squad") -> str:
        (tmp_path / "validation.json").write_text(content)
        with pytest.raises(UserError) as error:
            load_questions(SQUADS[task], tmp_path)
        return str(error.value)

    with pytest.raises(UserError, match=r"neither dev-v1\.1\.json nor validation\.json"):
        load_questions(SQUADS["squad"], tmp_path)
    assert "is not JSON" in refused("{")
    assert "is not in SQuAD's format" in refused('{"data": [{}]}')
    assert "has no questions" in refused('{"data": []}')
    moved = file_of([Question("q7", "?", "red blue", (("blue", 3),))])
    assert "question q7: the answer 'blue' does not stand at character 3" in refused(json.dumps(moved))
    for start in ("4", 4.0, True, -4, 400):
        odd = file_of([Question("q7", "?", "red blue", (("blue", start),))])  # type: ignore[arg-type]
        assert f"the answer 'blue' at answer_start {start!r} is not inside" in refused(json.dumps(odd))
    silent = file_of([Question("q7", "?", None, ())])  # type: ignore[arg-type]
    assert "question q7: question, context or answer is no text" in refused(json.dumps(silent), "squad_v2")
    assert "has 2 questions with the id" in refused(json.dumps(file_of([question("red blue", "blue")] * 2)))
    empty = json.dumps(file_of([question("red")]))
    assert "has no answer; squad_v2 allows that" in refused(empty)
    (tmp_path / "validation.json").write_text(empty)
    assert load_questions(SQUADS["squad_v2"], tmp_path)["validation"][0].answers == ()
