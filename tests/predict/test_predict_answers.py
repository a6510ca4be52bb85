"""`autobert-zero predict` of a model for question answering: the likeliest spans of texts of any length."""

import json
from pathlib import Path
from random import Random
from typing import Any

import hf_samples
import pytest
import tiny
import torch
import trained
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

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


def predicted(model: Path, folder: Path, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    lines = [json.dumps({"context": context, "question": question}) for question, context in pairs]
    (folder / "texts.jsonl").write_text("\n".join(lines))
    done = tiny.command("predict", "--model", model, folder / "texts.jsonl")
    assert done.code == 0, done.err
    assert "(column question and context, at most 16 tokens each)" in done.log
    return [json.loads(line) for line in done.out.splitlines()]


def test_the_context_can_be_kept(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": 3, "question": "who was it", "context": "film play"}))
    for keep, names in (("context", ["context"]), ("all", ["id", "context"])):
        done = tiny.command("predict", "--model", model, "--keep-columns", keep, tmp_path / "a.jsonl")
        record = json.loads(done.out)
        assert list(record)[: len(names) + 2] == [*names, "question", "answer"]
        assert record["context"] == "film play"


def plain_answer(model: Path, question: str, context: str) -> dict[str, Any]:
    """The likeliest span of a text that fits a sequence, by trying all."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    encoded = tokenizer(question, context, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        output = AutoModelForQuestionAnswering.from_pretrained(model)(**encoded)
    inside = [place for place, part in enumerate(encoded.sequence_ids(0)) if part == 1]
    kept = [0, *inside]  # [CLS] stands for no answer
    start, end = (torch.softmax(each[0, kept], 0) for each in (output.start_logits, output.end_logits))
    spans = [(start[a] * end[b], a, b) for a in range(1, len(kept)) for b in range(a, len(kept))]
    probability, first, last = max(spans)
    return {
        "probability": pytest.approx(probability.item(), abs=1e-6),
        "start": offsets[kept[first]][0],
        "end": offsets[kept[last]][1],
        "no_answer": pytest.approx((start[0] * end[0]).item(), abs=1e-6),
    }


def test_answers_equal_a_plain_search(model: Path, tmp_path: Path) -> None:
    pairs = questions(12, 9)
    for record, (question, context) in zip(predicted(model, tmp_path, pairs), pairs, strict=True):
        expected = plain_answer(model, question, context)
        answer = context[expected["start"] : expected["end"]]
        assert record == {"question": question, "answer": answer, **expected}


def test_long_texts_are_read_in_windows(model: Path, tmp_path: Path) -> None:
    """The answer is that of the window whose span has the highest logits; it can be anywhere."""
    words = trained.WORDS
    texts = [" ".join(words[(5 * n + 3 * place) % len(words)] for place in range(40)) for n in range(12)]
    starts = []
    for record, text in zip(
        predicted(model, tmp_path, [("who", text) for text in texts]), texts, strict=True
    ):
        assert record["answer"] == text[record["start"] : record["end"]] != ""
        starts.append(record["start"])
    assert max(starts) > 60


def test_half_an_example_has_no_answer(model: Path, tmp_path: Path) -> None:
    pairs = [("who", ""), ("who", "Anna"), ("", ""), (" ", "Anna")]
    assert [each["answer"] for each in predicted(model, tmp_path, pairs)] == [None, "Anna", None, None]
