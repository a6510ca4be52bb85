"""Models of other families, tokenizers that do not belong to them, and lengths beyond their positions."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import hf_samples
import pytest
import tiny
from huggingface_hub import HfApi
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    DistilBertConfig,
    DistilBertForMaskedLM,
    GPT2Config,
    GPT2Model,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
    XLNetConfig,
    XLNetModel,
)

from autobert_zero.finetune.models import open_model
from autobert_zero.hf import AutoBertZeroForMaskedLM

WORDS = ["good", "bad", "film", "play", "the", "a", "it", "was"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = len(SPECIAL) + len(WORDS)


def save_tokenizer(folder: Path, words: list[str] = WORDS, last: bool = False, **changes: Any) -> None:
    """A tokenizer of whole words; `last` puts `[CLS]` at the end and padding to the left, as XLNet does."""
    made = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([*SPECIAL, *words])}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    single, pair = "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"
    if last:
        single, pair = "$A [SEP] [CLS]", "$A [SEP] $B:1 [SEP]:1 [CLS]:2"
    made.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names: dict[str, Any] = {
        f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")
    }
    PreTrainedTokenizerFast(tokenizer_object=made, **names | changes).save_pretrained(folder)


def save(folder: Path, model: PreTrainedModel, **tokenizer: Any) -> Path:
    model.save_pretrained(folder)
    save_tokenizer(folder, **tokenizer)
    return folder


def xlnet(folder: Path) -> Path:
    config = XLNetConfig(vocab_size=VOCABULARY, d_model=16, n_layer=2, n_head=2, d_inner=24, dropout=0.0)
    return save(folder, XLNetModel(config), last=True, padding_side="left")


def gpt2(folder: Path) -> Path:
    """Without a token for padding, as its own tokenizer."""
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=16, resid_pdrop=0.0, embd_pdrop=0.0
    )
    inputs = ["input_ids", "attention_mask"]
    tokenizer = {"pad_token": None, "cls_token": None, "eos_token": "[SEP]", "model_input_names": inputs}
    return save(folder, GPT2Model(config), **tokenizer)


def roberta(folder: Path, positions: int = 18) -> Path:
    """With a single segment, as the published ones."""
    config = RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=positions,
        pad_token_id=1,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
    )
    names = {"unk_token": "[PAD]", "pad_token": "[UNK]"}
    return save(folder, RobertaModel(config), **names)


def distilbert(folder: Path) -> Path:
    """Takes no segments, which this tokenizer gives."""
    config = DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=16
    )
    return save(folder, DistilBertForMaskedLM(config))


FAMILIES = {make.__name__: make for make in (xlnet, gpt2, roberta, distilbert)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sentences of twelve words each, the same or not: more than any family's positions."""
    folder = tmp_path / "data"
    folder.mkdir()
    random = Random(0)
    for split in ("train", "validation", "test"):
        lines = []
        for number in range(24):
            texts = [" ".join(random.choices(WORDS, k=12)) for _ in range(2)]
            label = ("not_entailment", "entailment")[number % 2]
            lines.append({"sentence1": texts[0], "sentence2": texts[1 - number % 2], "label": label})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_families_at_full_length(tmp_path: Path, data: Path, family: str) -> None:
    model, out = FAMILIES[family](tmp_path / "model"), tmp_path / "out"
    given = ("--model", model, "--task", "rte", "--data", data, "--out", out)
    done = tiny.command("finetune", *given, "--rates", "1e-3", "--seeds", 1, "--epochs", 1, "--batch-size", 8)
    assert done.code == 0, done.err
    assert len((out / "RTE.tsv").read_text().splitlines()) == 25


@pytest.mark.parametrize("family", FAMILIES)
def test_families_answer_questions(tmp_path: Path, family: str) -> None:
    model, data, out = FAMILIES[family](tmp_path / "model"), tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for split in ("train", "validation"):
        questions = [
            {"id": str(n), "question": "was it", "answers": [{"text": "film", "answer_start": 4}]}
            for n in range(8)
        ]
        paragraph = {"context": "the film " + "a play it was " * 6, "qas": questions}
        (data / f"{split}.json").write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    given = (
        "--model",
        model,
        "--data",
        data,
        "--rates",
        "1e-2",
        "--seeds",
        1,
        "--epochs",
        1,
        "--batch-size",
        8,
    )
    done = tiny.command("finetune", "--task", "squad", "--out", out, *given)
    assert done.code == 0, done.err
    assert len(json.loads((out / "predictions.json").read_text())) == 8
    done = tiny.command("finetune", "--task", "squad_v2", "--out", tmp_path / "two", *given)
    assert done.code == (2 if family == "gpt2" else 0), done.err
    if family == "gpt2":
        assert done.err.count("\n") == 1
        assert "squad_v2 needs a tokenizer with [CLS]" in done.err


@pytest.mark.parametrize(("family", "positions"), [("gpt2", 16), ("roberta", 16), ("distilbert", 16)])
def test_lengths_beyond_the_positions(tmp_path: Path, data: Path, family: str, positions: int) -> None:
    model = FAMILIES[family](tmp_path / "model")
    opened = open_model(str(model))
    assert opened.positions == positions
    assert (opened.length(None), opened.length(0), opened.length(positions)) == (positions,) * 3
    given = ("--model", model, "--task", "rte", "--data", data, "--out", tmp_path / "out")
    done = tiny.command("finetune", *given, "--length", positions + 1)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"--length 17 is more than the 16 positions of {model}" in done.err
    assert not (tmp_path / "out").exists()


def test_positions_without_a_bound(tmp_path: Path) -> None:
    opened = open_model(str(xlnet(tmp_path / "xlnet")))
    assert opened.positions is None
    assert (opened.length(None), opened.length(0), opened.length(4000)) == (128, 128, 4000)
    config = T5Config(vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    assert open_model(str(save(tmp_path / "t5", T5Model(config)))).positions is None


def test_a_tokenizer_larger_than_the_model(tmp_path: Path, data: Path) -> None:
    for family, make in FAMILIES.items():
        model = make(tmp_path / family)
        save_tokenizer(model, [*WORDS, "more"])
        done = tiny.command(
            "finetune", "--model", model, "--task", "rte", "--data", data, "--out", tmp_path / "out"
        )
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert (
            f"the tokenizer of {model} has {VOCABULARY + 1} tokens, but the model knows {VOCABULARY}"
            in done.err
        )
    assert not (tmp_path / "out").exists()


def test_a_hub_name_that_is_a_slip_is_one_line(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def repo_info(self: HfApi, name: str, **options: object) -> None:
        asked.append(name)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(HfApi, "repo_info", repo_info)
    given = ("--task", "rte", "--data", data, "--out", tmp_path / "out")
    done = tiny.command("finetune", "--model", "someone/typo-model", *given)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "model 'someone/typo-model' is not on this disk, and the Hub cannot be asked" in done.err
    assert asked == ["someone/typo-model"]


def damaged(folder: Path, name: str, content: str) -> Path:
    AutoBertZeroForMaskedLM(hf_samples.config(vocab_size=VOCABULARY)).save_pretrained(folder)
    save_tokenizer(folder)
    (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "[]", r"config\.json"),
        ("config.json", '{"model_type": "nothing"}', "is not a model"),
        ("config.json", '{"auto_map": {"AutoConfig": "evil.Evil"}}', "is not a model"),
        ("config.json", '{"model_type": "bert", "hidden_size": "wide"}', "is not a model|cannot be built"),
        ("config.json", '{"model_type": "vit"}', "of type vit, which does not take text"),
        ("tokenizer.json", "{}", "has no tokenizer that can be read"),
        ("model.safetensors", "cut", r"model\.safetensors is damaged or not safetensors"),
    ],
)
def test_damaged_models(tmp_path: Path, data: Path, name: str, content: str, message: str) -> None:
    model = damaged(tmp_path / "model", name, content)
    given = ("--model", model, "--task", "rte", "--data", data, "--out", tmp_path / "out")
    done = tiny.command("finetune", *given)
    assert (done.code, done.err.count("error: "), done.err.count("\n")) == (2, 1, 1)
    assert re.search(message, done.err)


def test_weights_of_another_size_and_pickles(tmp_path: Path, data: Path) -> None:
    model = distilbert(tmp_path / "model")
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(settings | {"dim": 32, "hidden_dim": 40}))
    given = ("--task", "rte", "--data", data, "--out", tmp_path / "out", "--seeds", 1)
    done = tiny.command("finetune", "--model", model, *given)
    assert done.code == 2
    assert f"error: the weights of {model} cannot be read: " in done.err.splitlines()[-1]
    (model / "config.json").write_text(json.dumps(settings | {"n_layers": 3}))
    done = tiny.command("finetune", "--model", model, *given)
    assert done.code == 2
    assert "tensors of the encoder, among them distilbert.transformer.layer.2." in done.err.splitlines()[-1]
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    done = tiny.command("finetune", "--model", model, *given)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "pickles are not loaded" in done.err


def test_plan_takes_the_same_models(tmp_path: Path, data: Path) -> None:
    model = damaged(tmp_path / "model", "note.txt", "")
    given = ("plan", "finetune", "--model", model, "--task", "rte", "--data", data, "--hardware", "h100")
    assert tiny.command(*given).code == 0
    done = tiny.command(*given, "--length", 21)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--length 21 is more than the 20 positions" in done.err
