"""`autobert-zero predict --task embed`: means over tokens, whatever shares a batch."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import hf_samples
import numpy as np
import pytest
import tiny
import torch
import trained
from transformers import AutoModel, AutoTokenizer, BertForMaskedLM, BertModel, PreTrainedModel

from autobert_zero.hf import (
    AutoBertZeroForMaskedLM,
    AutoBertZeroForSequenceClassification,
    AutoBertZeroModel,
)

MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "encoder": lambda: AutoBertZeroModel(hf_samples.config()),
    "masked LM": lambda: AutoBertZeroForMaskedLM(hf_samples.config()),
    "classifier": lambda: AutoBertZeroForSequenceClassification(hf_samples.config()),
    "BERT": lambda: BertModel(hf_samples.bert_config()),
    "BERT without a pooler": lambda: BertForMaskedLM(hf_samples.bert_config()),
}


def texts(count: int) -> list[str]:
    random = Random(1)
    return [" ".join(random.choices(trained.WORDS, k=random.randint(1, 20))) for _ in range(count)]


def one_by_one(folder: Path, texts: list[str]) -> np.ndarray:
    """The plain way: each text alone, (N, d)."""
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        states = [
            model(**tokenizer(text, return_tensors="pt", truncation=True)).last_hidden_state[0].mean(0)
            for text in texts
        ]
    return torch.stack(states).numpy()


@pytest.mark.parametrize("kind", MODELS)
def test_embeddings_equal_a_plain_loop(kind: str, tmp_path: Path) -> None:
    model = trained.save(tmp_path / "m", MODELS[kind]())
    (tmp_path / "texts.txt").write_text("\n".join(texts(13)))
    expected = one_by_one(model, texts(13))
    for size in (1, 5):
        out = tmp_path / f"{size}.npy"
        options = ("--task", "embed", "--batch-size", size, "--out", out)
        done = tiny.command("predict", "--model", model, *options, tmp_path / "texts.txt")
        assert done.code == 0, done.err
        mapped = np.load(out, mmap_mode="r")
        assert (mapped.dtype, mapped.shape) == (np.float32, (13, hf_samples.WIDTH))
        np.testing.assert_allclose(mapped, expected, rtol=0, atol=1e-5)


def test_jsonl_and_empty_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autobert_zero.predict import run

    monkeypatch.setattr(run, "_BLOCK", 2)
    model = trained.save(tmp_path / "m", AutoBertZeroModel(hf_samples.config()))
    (tmp_path / "texts.txt").write_text("\n\ngood film\n\nbad\n")
    done = tiny.command("predict", "--model", model, tmp_path / "texts.txt")
    assert done.code == 0, done.err
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["text"] for record in records] == ["", "", "good film", "", "bad"]
    assert [record["embedding"] is None for record in records] == [True, True, False, True, False]
    assert "3 of them empty, with an empty result" in done.log
    out = tmp_path / "out.npy"
    assert tiny.command("predict", "--model", model, "-o", out, tmp_path / "texts.txt").code == 0
    array = np.load(out)
    assert np.isnan(array).all(1).tolist() == [True, True, False, True, False]
    np.testing.assert_array_equal(array[2], np.float32(records[2]["embedding"]))


def test_the_pooling_of_the_folder(tmp_path: Path) -> None:
    model = trained.save(tmp_path / "m", AutoBertZeroModel(hf_samples.config()))
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [{"path": "1_Pooling" * (kind == "Pooling"), "type": f"models.{kind}"} for kind in kinds]
    (model / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "texts.txt").write_text("\n".join(texts(5)))
    done = tiny.command("predict", "--model", model, "--task", "embed", tmp_path / "texts.txt")
    assert f"embeddings of width {hf_samples.WIDTH} (cls pooling, scaled to length 1) for" in done.log
    network, tokenizer = AutoModel.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    for line, text in zip(done.out.splitlines(), texts(5), strict=True):
        with torch.no_grad():
            first = network(**tokenizer(text, return_tensors="pt", truncation=True)).last_hidden_state[0, 0]
        np.testing.assert_allclose(json.loads(line)["embedding"], first / first.norm(), rtol=0, atol=1e-5)
