"""`autobert-zero predict` of a model for question answering: the spans of the pipeline of `transformers`."""

import json
from pathlib import Path
from random import Random

import hf_samples
import pytest
import tiny
import trained
from transformers import pipeline

from autobert_zero.hf import AutoBertZeroForQuestionAnswering


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    head = AutoBertZeroForQuestionAnswering(hf_samples.config())
    return trained.save(tmp_path_factory.mktemp("model") / "m", head)


def questions(count: int, longest: int) -> list[tuple[str, str]]:
    random = Random(0)
    return [
        ("who was it", " ".join(random.sample(trained.WORDS, k=random.randint(1, longest))))
        for _ in range(count)
    ]


def predicted(model: Path, folder: Path, pairs: list[tuple[str, str]]) -> list[dict[str, object]]:
    lines = [json.dumps({"context": context, "question": question}) for question, context in pairs]
    (folder / "texts.jsonl").write_text("\n".join(lines))
    done = tiny.command("predict", "--model", model, folder / "texts.jsonl")
    assert done.code == 0, done.err
    assert "(column question and context, at most 16 tokens each)" in done.log
    return [json.loads(line) for line in done.out.splitlines()]


def test_short_texts_are_answered_as_by_the_pipeline(model: Path, tmp_path: Path) -> None:
    pairs = questions(12, 9)
    answer = pipeline("question-answering", str(model), device="cpu")
    for record, (question, context) in zip(predicted(model, tmp_path, pairs), pairs, strict=True):
        expected = answer(question=question, context=context, align_to_words=False, max_answer_len=30)
        assert record["answer"] == expected["answer"] == context[record["start"] : record["end"]]
        assert record["probability"] == pytest.approx(expected["score"], abs=1e-6)
        assert (record["start"], record["end"]) == (expected["start"], expected["end"])
        assert record["question"] == question
        assert "context" not in record


def test_long_texts_are_read_in_windows(model: Path, tmp_path: Path) -> None:
    """The answer is that of the window whose span has the highest logits; it can be anywhere."""
    start = set()
    for number in range(12):
        words = [trained.WORDS[(number * 5 + place * 3) % len(trained.WORDS)] for place in range(40)]
        context = " ".join(words)
        (record,) = predicted(model, tmp_path, [("who", context)])
        assert record["answer"] == context[record["start"] : record["end"]] != ""
        start.add(record["start"])
    assert max(start) > 60


def test_empty_texts(model: Path, tmp_path: Path) -> None:
    nothing, whole, blank = predicted(model, tmp_path, [("who", ""), ("who", "Anna"), ("", "")])
    assert (nothing["answer"], nothing["probability"]) == ("", 0.0)
    assert whole["answer"] == "Anna"
    assert blank["answer"] is None
