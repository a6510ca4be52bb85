"""`autobert-zero predict --task mask`: the tokens of the pipeline of `transformers`, for every mask."""

import csv
import io
import json
from pathlib import Path

import hf_samples
import pytest
import tiny
import trained
from transformers import BertForMaskedLM, BertForPreTraining, pipeline

from autobert_zero.hf import AutoBertZeroForMaskedLM, AutoBertZeroForPreTraining

TEXTS = ["the [MASK] was good", "it [MASK] a [MASK] .", "[MASK]"]
MODELS = {
    "ours": lambda: AutoBertZeroForMaskedLM(hf_samples.config()),
    "with next sentences": lambda: AutoBertZeroForPreTraining(hf_samples.config()),
    "BERT": lambda: BertForMaskedLM(hf_samples.bert_config()),
    "BERT with next sentences": lambda: BertForPreTraining(hf_samples.bert_config()),
}


@pytest.mark.parametrize("kind", MODELS)
def test_tokens_are_those_of_the_pipeline(kind: str, tmp_path: Path) -> None:
    model = trained.save(tmp_path / "m", MODELS[kind]())
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    done = tiny.command("predict", "--model", model, "--top-k", 3, tmp_path / "texts.txt")
    assert done.code == 0, done.err
    assert done.log.startswith("the 3 most likely tokens for each [MASK] for 3 texts of ")
    fill = pipeline("fill-mask", str(model), device="cpu", top_k=3)
    for line, text in zip(done.out.splitlines(), TEXTS, strict=True):
        expected = fill(text)
        expected = [expected] if text.count("[MASK]") == 1 else expected
        masks = json.loads(line)["masks"]
        assert [[each["token"] for each in mask] for mask in masks] == [
            [each["token_str"] for each in mask] for mask in expected
        ]
        for mask, theirs in zip(masks, expected, strict=True):
            assert [each["probability"] for each in mask] == pytest.approx(
                [each["score"] for each in theirs], abs=1e-6
            )


def test_what_is_filled_in(tmp_path: Path) -> None:
    model = trained.save(tmp_path / "m", AutoBertZeroForMaskedLM(hf_samples.config()))
    long = "good " * 13 + "[MASK] [MASK]"  # the second is beyond the 16 tokens of a sequence
    (tmp_path / "texts.txt").write_text("\n".join([*TEXTS, "", long]))
    done = tiny.command("predict", "--model", model, tmp_path / "texts.txt")
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [len(record["masks"]) for record in records] == [1, 2, 1, 0, 1]
    assert [{len(mask) for mask in record["masks"]} for record in records] == [{5}, {5}, {5}, set(), {5}]
    first, second = (mask[0]["token"] for mask in records[1]["masks"])
    assert records[1]["filled"] == f"it {first} a {second} ."
    assert records[3] == {"text": "", "filled": None, "masks": []}
    assert records[4]["filled"].endswith("good " + records[4]["masks"][0][0]["token"] + " [MASK]")
    assert "1 of them longer than 16 tokens and cut, 1 of them empty" in done.log
    table = tiny.command("predict", "--model", model, "--format", "csv", tmp_path / "texts.txt").out
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["filled"] for row in rows] == [record["filled"] or "" for record in records]
    assert rows[1]["tokens"] == f"{first} {second}"
