"""SQuAD: files, windows, spans, metrics, and a language in which the answer is easy to find."""

import json
from pathlib import Path
from random import Random
from typing import Any

import hf_samples
import numpy as np
import pytest
import tiny
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from autobert_zero.errors import UserError
from autobert_zero.finetune.squad.data import load_questions
from autobert_zero.finetune.squad.metrics import squad_metrics
from autobert_zero.finetune.squad.question_answering import QuestionAnswering
from autobert_zero.finetune.squad.task import SQUADS, Question
from autobert_zero.hf import AutoBertZeroForMaskedLM
from autobert_zero.hf.tokenizer import wrap_tokenizer

WORDS = ["where", "is", "it", "here", "red", "blue", "green", "old", "new", "far"]


def tokenizer(length: int = 32) -> Any:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return wrap_tokenizer(made, length)


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


def lone(problem: QuestionAnswering, split: str = "validation") -> list[np.ndarray[Any, Any]]:
    """Zeros for every token of every window of a split."""
    return [np.zeros(len(row["input_ids"])) for row in problem.features[split].rows]


def several_windows() -> QuestionAnswering:
    """One question on a text of three windows of `[CLS] where is it [SEP] ... [SEP]`, as SQuAD 2.0."""
    context = " ".join(WORDS[4:] * 4)
    asked = [question(context, "red")]
    problem = QuestionAnswering(SQUADS["squad_v2"], {"train": asked, "validation": asked}, tokenizer(), 20)
    assert len(problem.features["validation"]) == 3
    return problem


def test_no_answer_has_to_win_in_every_window() -> None:
    """The score of no answer is the least over the windows: where the answer stands it is low."""
    problem = several_windows()
    start, end = lone(problem), lone(problem)
    for window, (none, span) in enumerate(((9.0, 0.0), (1.0, 4.0), (9.0, 0.0))):
        start[window][0] = none
        start[window][6] = span
        end[window][6] = span
    (answer,) = problem.decide("validation", [start, end]).values()
    assert answer != ""
    for each in start:
        each[0] = 9.0
    assert problem.decide("validation", [start, end]) == {"q": ""}


def test_no_answer_wins_ties() -> None:
    problem = several_windows()
    start, end = lone(problem), lone(problem)
    assert problem.decide("validation", [start, end]) == {"q": ""}
    end[1][7] = 1e-3
    assert problem.decide("validation", [start, end]) != {"q": ""}


def long_window(words: int) -> QuestionAnswering:
    """SQuAD 1.1, one window with a text of so many different words."""
    context = " ".join(f"{WORDS[number % 6 + 4]}" for number in range(words))
    asked = [question(context, context.split()[0])]
    return QuestionAnswering(SQUADS["squad"], {"train": asked, "validation": asked}, tokenizer(100), 100)


@pytest.mark.parametrize(("tokens", "allowed"), [(29, True), (30, True), (31, False), (32, False)])
def test_answers_have_at_most_thirty_tokens(tokens: int, allowed: bool) -> None:
    problem = long_window(60)
    start, end = lone(problem), lone(problem)
    first = 5  # after [CLS] where is it [SEP]
    start[0][first] = 5.0
    end[0][first + tokens - 1] = 5.0
    (answer,) = problem.decide("validation", [start, end]).values()
    assert (len(answer.split()) == tokens) == allowed


def test_the_best_pair_need_not_have_the_best_start_and_the_best_end() -> None:
    """The best end stands before the best start."""
    problem = long_window(20)
    words = " ".join(f"{WORDS[number % 6 + 4]}" for number in range(20)).split()
    start, end = lone(problem), lone(problem)
    start[0][5 + 10], start[0][5 + 2] = 9.0, 8.0
    end[0][5 + 1], end[0][5 + 12], end[0][5 + 4] = 9.0, 3.0, 7.0
    # 8 + 7 from 2 to 4; 9 + 3 from 10 to 12; 9 + 9 would run backwards.
    (answer,) = problem.decide("validation", [start, end]).values()
    assert answer == " ".join(words[2:5])


def test_the_twentieth_start_is_still_tried() -> None:
    """Nineteen better starts, all behind every good end."""
    problem = long_window(60)
    start, end = lone(problem), lone(problem)
    start[0][5 + 30 : 5 + 49] = 9.0
    start[0][5] = 8.0
    end[0][6] = 20.0
    end[0][5 + 30 :] = -50.0
    (answer,) = problem.decide("validation", [start, end]).values()
    assert answer == " ".join(WORDS[4:6])


def test_long_questions_are_cut_and_counted() -> None:
    asked = [Question("q", " ".join(WORDS[4:] * 5), "red blue green " * 9, (("red", 0),))]
    for length in (8, 9, 20):
        problem = QuestionAnswering(SQUADS["squad"], {"train": asked}, tokenizer(), length)
        assert problem.cut == 1
        rows = problem.features["train"].rows
        assert max(len(row["input_ids"]) for row in rows) <= length
        assert len(rows) > 1


def test_no_answer_stands_where_the_tokenizer_puts_cls() -> None:
    """XLNet's comes last; there is no answer to the second question."""
    last = tokenizer()
    last.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP] [CLS]",
        pair="$A [SEP] $B:1 [SEP]:1 [CLS]:2",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    last.padding_side = "left"
    asked = [question("red blue", "blue", key="p"), question("red blue green")]
    problem = QuestionAnswering(SQUADS["squad_v2"], {"train": asked, "validation": asked}, last, 20)
    features = problem.features["train"]
    targets = [(row["start_positions"], row["end_positions"]) for row in features.rows]
    assert targets == [(5, 5), (8, 8)]  # where is it [SEP] red blue [SEP] [CLS]
    batch = features.batch([0, 1])
    assert batch.inputs["input_ids"][0, 5] == 4 + 1 + WORDS.index("blue")  # padded on the right
    start, end = lone(problem), lone(problem)
    for window, place in ((0, 5), (1, 8)):
        start[window][place] = end[window][place] = 1.0
    assert problem.decide("validation", [start, end]) == {"p": "blue", "q": ""}


def test_tokenizers_that_cannot_answer() -> None:
    mute = tokenizer()
    mute.cls_token = None
    with pytest.raises(UserError, match=r"squad_v2 needs a tokenizer with \[CLS\]"):
        QuestionAnswering(SQUADS["squad_v2"], {"train": [question("red")]}, mute, 20)
    QuestionAnswering(SQUADS["squad"], {"train": [question("red", "red")]}, mute, 20)


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
    assert "question q7: question, context or answer is not text" in refused(json.dumps(silent), "squad_v2")
    half = file_of([Question("q7", "?", "red blue\ud800", (("blue", 4),))])
    assert "question q7: question or context has half a character" in refused(json.dumps(half))
    assert "has 2 questions with the id" in refused(json.dumps(file_of([question("red blue", "blue")] * 2)))
    repeated = json.dumps(good).replace('"id": "q"', '"id": "p", "id": "q"')
    assert "is not JSON: the key 'id' is given twice" in refused(repeated)
    assert "nested too deeply" in refused("[" * 100_000)
    (tmp_path / "validation.json").write_bytes(json.dumps(good).encode("utf-16"))
    with pytest.raises(UserError, match="it is UTF-16; convert it"):
        load_questions(SQUADS["squad"], tmp_path)
    empty = json.dumps(file_of([question("red")]))
    assert "has no answer; squad_v2 allows that" in refused(empty)
    (tmp_path / "validation.json").write_text(empty)
    assert load_questions(SQUADS["squad_v2"], tmp_path)["validation"][0].answers == ()


@pytest.mark.parametrize(
    ("task", "answers", "impossible", "message"),
    [
        ("squad_v2", (), True, None),
        ("squad_v2", (), None, None),
        ("squad_v2", ("blue",), False, None),
        ("squad", ("blue",), False, None),
        ("squad_v2", ("blue",), True, "question q: is_impossible is true, but there is the answer 'blue'"),
        ("squad", ("blue",), True, "question q: is_impossible is true, but there is the answer 'blue'"),
        ("squad_v2", (), False, "question q has no answer, but is_impossible is false"),
        ("squad", (), True, "question q has no answer; squad_v2 allows that"),
        ("squad_v2", (), "yes", "question q: is_impossible must be true or false, not 'yes'"),
        ("squad_v2", ("blue",), 0, "question q: is_impossible must be true or false, not 0"),
    ],
)
def test_is_impossible_and_the_answers_agree(
    tmp_path: Path, task: str, answers: tuple[str, ...], impossible: object, message: str | None
) -> None:
    content = file_of([question("red blue", *answers)])
    if impossible is not None:
        content["data"][0]["paragraphs"][0]["qas"][0]["is_impossible"] = impossible
    for split in ("train", "validation"):
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    if message is None:
        assert (
            load_questions(SQUADS[task], tmp_path)["train"][0].answers
            == question("red blue", *answers).answers
        )
        return
    with pytest.raises(UserError, match=message):
        load_questions(SQUADS[task], tmp_path)


def test_plausible_answers_are_none(tmp_path: Path) -> None:
    """SQuAD 2.0 notes them beside questions without an answer."""
    content = file_of([question("red blue")])
    content["data"][0]["paragraphs"][0]["qas"][0] |= {
        "is_impossible": True,
        "plausible_answers": [{"text": "red", "answer_start": 0}],
    }
    for split in ("train", "validation"):
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    assert load_questions(SQUADS["squad_v2"], tmp_path)["train"][0].answers == ()
