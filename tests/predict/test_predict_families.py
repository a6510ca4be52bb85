"""`autobert-zero predict` of other families: no token for padding, padding on the left, no limit."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
import tiny
import torch
import trained
from transformers import (
    AutoModel,
    AutoTokenizer,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForMaskedLM,
    XLNetConfig,
    XLNetForSequenceClassification,
    pipeline,
)

VOCABULARY = len(trained.SPECIAL) + len(trained.WORDS)


def gpt2(folder: Path) -> Path:
    """Its own tokenizer has no token for padding either; the end of text stands for it."""
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=1, n_head=2, n_positions=16, pad_token_id=0)
    names = {"pad_token": None, "eos_token": "[PAD]", "model_input_names": ["input_ids", "attention_mask"]}
    return trained.save(folder, GPT2ForSequenceClassification(config), **names)


def xlnet(folder: Path) -> Path:
    config = XLNetConfig(vocab_size=VOCABULARY, d_model=16, n_layer=1, n_head=2, d_inner=24)
    return trained.save(folder, XLNetForSequenceClassification(config), length=None, padding_side="left")


def distilbert(folder: Path) -> Path:
    config = DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, n_layers=1, n_heads=2, hidden_dim=24, max_position_embeddings=20
    )
    return trained.save(folder, DistilBertForSequenceClassification(config))


FAMILIES: list[Callable[[Path], Path]] = [gpt2, xlnet, distilbert]


@pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.__name__)
def test_labels_and_embeddings_do_not_depend_on_the_batch(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    model = make(tmp_path / "m")
    random = Random(0)
    texts = [" ".join(random.choices(trained.WORDS, k=random.randint(1, 12))) for _ in range(7)]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    done = tiny.command("predict", "--model", model, tmp_path / "texts.txt")
    assert done.code == 0, done.err
    classify = pipeline("text-classification", str(model), device="cpu")
    for line, text in zip(done.out.splitlines(), texts, strict=True):
        record, (expected,) = json.loads(line), classify(text)
        assert record["label"] == expected["label"]
        assert record["probability"] == pytest.approx(expected["score"], abs=1e-6)
    out = tmp_path / "out.npy"
    done = tiny.command("predict", "--model", model, "--task", "embed", "-o", out, tmp_path / "texts.txt")
    assert done.code == 0, done.err
    encoder, tokenizer = AutoModel.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    with torch.no_grad():
        states = [encoder(tokenizer(text, return_tensors="pt").input_ids)[0][0].mean(0) for text in texts]
    np.testing.assert_allclose(np.load(out), torch.stack(states), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [RobertaForMaskedLM, DistilBertForMaskedLM], ids=lambda kind: kind.__name__)
def test_masks(kind: type, tmp_path: Path) -> None:
    if kind is RobertaForMaskedLM:
        config = RobertaConfig(
            vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, pad_token_id=0
        )
    else:
        config = DistilBertConfig(vocab_size=VOCABULARY, dim=16, n_layers=1, n_heads=2, hidden_dim=24)
    model = trained.save(tmp_path / "m", kind(config))
    texts = ["the [MASK] was good", "[MASK]"]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    done = tiny.command("predict", "--model", model, tmp_path / "texts.txt")
    assert done.code == 0, done.err
    fill = pipeline("fill-mask", str(model), device="cpu")
    for line, text in zip(done.out.splitlines(), texts, strict=True):
        (mask,) = json.loads(line)["masks"]
        assert [each["token"] for each in mask] == [each["token_str"] for each in fill(text)]
