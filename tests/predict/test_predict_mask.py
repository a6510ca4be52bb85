"""`autobert-zero predict --task mask`: the tokens of the pipeline of `transformers`, for every mask."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hf_samples
import numpy as np
import pytest
import tiny
import trained
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import BertForMaskedLM, BertForPreTraining, PreTrainedTokenizerFast, pipeline

from autobert_zero.finetune.models import Pretrained
from autobert_zero.hf import AutoBertZeroForMaskedLM, AutoBertZeroForPreTraining
from autobert_zero.predict import filling
from autobert_zero.predict.filling import MaskHead
from autobert_zero.predict.read import Row

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
    assert done.log.endswith(", 1 mask beyond the maximum length not filled\n")
    table = tiny.command("predict", "--model", model, "--format", "csv", tmp_path / "texts.txt").out
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["filled"] for row in rows] == [record["filled"] or "" for record in records]
    assert rows[1]["tokens"] == f"{first} {second}"


def test_the_logits_of_a_batch_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained.save(tmp_path / "m", AutoBertZeroForMaskedLM(hf_samples.config()))
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS * 4))
    whole = tiny.command("predict", "--model", model, tmp_path / "texts.txt").out
    monkeypatch.setattr(filling, "_LOGITS", 8 * hf_samples.VOCABULARY)  # those of eight tokens
    sizes, likeliest = [], MaskHead._likeliest

    def watched(self: MaskHead, output: Any, inputs: Any) -> Any:
        sizes.append(inputs["input_ids"].numel())
        return likeliest(self, output, inputs)

    monkeypatch.setattr(MaskHead, "_likeliest", watched)
    again = tiny.command("predict", "--model", model, tmp_path / "texts.txt").out
    assert max(sizes) <= 8
    for line, before in zip(again.splitlines(), whole.splitlines(), strict=True):
        assert json.loads(line)["filled"] == json.loads(before)["filled"]


def word_pieces() -> Tokenizer:
    made = Tokenizer(models.WordPiece({word: n for n, word in enumerate(PIECES)}, unk_token="[UNK]"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=False)
    return made


def bytes_with_spaces() -> Tokenizer:
    made = Tokenizer(models.BPE({word: n for n, word in enumerate(PIECES)}, [("Ġ", "x"), ("i", "n")]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return made


PIECES = ["[UNK]", "[MASK]", "[CLS]", "x", "##ing", ".", "Ġ", "Ġx", "i", "n", "in"]


@pytest.mark.parametrize(
    ("make", "text", "before", "best", "filled"),
    [
        (word_pieces, "x [MASK] x", ["x"], ["##ing"], "xing x"),
        (word_pieces, "x [MASK] x", ["x"], ["x"], "x x x"),
        (word_pieces, ".[MASK] x", ["."], ["x"], ".x x"),
        (word_pieces, "[MASK] x", ["[CLS]"], ["x"], "x x"),
        (word_pieces, "x [MASK] [MASK].", ["x", "[MASK]"], ["x", "##ing"], "x xing."),
        (word_pieces, "? [MASK]", ["[UNK]"], ["##ing"], "?ing"),
        (bytes_with_spaces, "x [MASK].", ["x"], ["Ġx"], "x x."),
        (bytes_with_spaces, "x[MASK].", ["x"], ["Ġx"], "x x."),
        (bytes_with_spaces, "x [MASK].", ["x"], ["in"], "xin."),
        (bytes_with_spaces, "x [MASK].", ["Ġ"], ["in"], "x in."),
    ],
)
def test_tokens_are_joined_as_the_tokenizer_does(
    make: Callable[[], Tokenizer], text: str, before: list[str], best: list[str], filled: str
) -> None:
    names = {"unk_token": "[UNK]", "mask_token": "[MASK]", "cls_token": "[CLS]", "pad_token": "[UNK]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=make(), **names)
    head = MaskHead(Pretrained("model", hf_samples.config(), tokenizer, None), 1)
    ids = np.array([[PIECES.index(token)] for token in best])
    result = (ids, np.full(ids.shape, 0.5), np.array([PIECES.index(token) for token in before]))
    runner: Any = lambda features, reduce: [result]  # noqa: E731 - in place of a model
    assert head.predict([Row("", (text,))], runner)[0][0]["filled"] == filled
