"""Exported folders as models of sentence-transformers: their files, and what the library makes of them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hf_samples
import pytest
import tiny
import torch
import transformers
from tiny import train_tokenizer
from torch import Tensor

from autobert_zero import hf
from autobert_zero.data.corpus import Corpus
from autobert_zero.errors import UserError
from autobert_zero.export import export
from autobert_zero.export.sentences import sentence_length
from autobert_zero.export.sources import open_source
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.zoo.layers import GATED_CONVOLUTION, GATED_ROTARY
from autobert_zero.zoo.trunks import MODERN_TRUNK

TEXTS = [
    "the cat sat on the mat",
    "a dog ran",
    "mat",
    "",
    "the dog and the cat ran on and on and sat on a mat",
]
BACKBONES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "paper": (hf_samples.MIXED, {}),
    "convolution": (["conv 3", "conv 5"], {}),
    "modern": ([GATED_ROTARY, GATED_CONVOLUTION, "conv 5"], MODERN_TRUNK),
}

WITHOUT_THE_PACKAGE = """
import sys
sys.modules["autobert_zero"] = None  # importing it is an ImportError
import json, torch
from sentence_transformers import SentenceTransformer
folder, texts, outputs = sys.argv[1:]
model = SentenceTransformer(folder, trust_remote_code=True, device="cpu")
embeddings = model.encode(json.loads(texts), convert_to_tensor=True)
model.save(folder + "-again")
again = SentenceTransformer(folder + "-again", trust_remote_code=True, device="cpu")
assert torch.equal(again.encode(json.loads(texts), convert_to_tensor=True), embeddings)
torch.save(embeddings, outputs)
"""


def saved(folder: Path, backbone: str = "paper", kind: type = hf.AutoBertZeroForMaskedLM) -> Path:
    """A model and its tokenizer as `save_pretrained` writes them."""
    layers, trunk = BACKBONES[backbone]
    tokenizer = wrap_tokenizer(train_tokenizer(Corpus("made up", "0", TEXTS * 5), 60), None)
    hf_samples.randomise(kind(hf_samples.config(layers, vocab_size=len(tokenizer), **trunk))).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


def states(folder: Path, texts: list[str], side: str = "right") -> tuple[Tensor, Tensor]:
    """Last hidden states (B, n, d) of our class, and the mask (B, n), of texts cut to 20 tokens."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side=side)
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=20, return_tensors="pt")
    model = hf.AutoBertZeroModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**inputs).last_hidden_state, inputs["attention_mask"].bool()


def means(folder: Path, texts: list[str], side: str = "right") -> Tensor:
    """(B, d), by hand."""
    hidden, mask = states(folder, texts, side)
    return torch.stack([row[real].mean(0) for row, real in zip(hidden, mask, strict=True)])


def encode(model: Any, texts: list[str]) -> Tensor:
    """(B, d), of sentence-transformers."""
    return model.encode(texts, convert_to_tensor=True, show_progress_bar=False).cpu()


@pytest.mark.parametrize(
    ("pooling", "setting"), [("mean", "pooling_mode_mean_tokens"), ("cls", "pooling_mode_cls_token")]
)
def test_files(pooling: str, setting: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(saved(tmp_path / "saved"), out, (), sentence_embeddings=pooling)
    modules = json.loads((out / "modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Pooling"]
    settings = json.loads((out / "1_Pooling" / "config.json").read_text())
    assert settings["word_embedding_dimension"] == hf_samples.WIDTH
    assert [name for name, value in settings.items() if name.startswith("pooling") and value] == [setting]
    assert json.loads((out / "sentence_bert_config.json").read_text())["max_seq_length"] == 20
    card = (out / "README.md").read_text()
    assert "library_name: sentence-transformers" in card
    assert 'SentenceTransformer("FOLDER_OR_NAME", trust_remote_code=True)' in card
    assert "cut to 20 tokens" in card


@pytest.mark.parametrize("backbone", ["paper", "modern"])
def test_texts_are_cut_to_the_length_of_the_training(backbone: str, tmp_path: Path) -> None:
    """Also where the positions have no limit; a fine-tuned model's is that of its tokenizer."""
    folder = saved(tmp_path, backbone)
    assert sentence_length(open_source(folder)) == 20
    transformers.AutoTokenizer.from_pretrained(folder, model_max_length=9).save_pretrained(folder)
    assert sentence_length(open_source(folder)) == 9


def test_bad_input_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    folder = saved(tmp_path / "saved")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    before = tiny.contents(tmp_path)
    done = tiny.command("export", folder, tmp_path / "out", "--sentence-embeddings", "mean")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "has no tokenizer, which sentence embeddings need" in done.err
    with pytest.raises(UserError, match="pooled by cls or mean, not by 'max'"):
        export(folder, tmp_path / "out", (), sentence_embeddings="max")
    assert tiny.contents(tmp_path) == before


@pytest.fixture
def library() -> Any:
    """The real library."""
    return pytest.importorskip("sentence_transformers", reason="needs the extra `suite`")


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("exported", [False, True])
def test_embeddings_are_the_means_of_our_states(
    backbone: str, exported: bool, tmp_path: Path, library: Any
) -> None:
    """Alone and padded at either end; of a folder of `save_pretrained` and of an exported one."""
    folder = saved(tmp_path / "saved", backbone)
    if exported:
        export(folder, tmp_path / "out", (), sentence_embeddings="mean")
        folder = tmp_path / "out"
    model = library.SentenceTransformer(str(folder), device="cpu")
    assert model.max_seq_length == 20
    for texts in (TEXTS, TEXTS[1:2], [" ".join(TEXTS)]):
        torch.testing.assert_close(encode(model, texts), means(folder, texts), atol=1e-5, rtol=1e-5)
    model.tokenizer.padding_side = "left"
    left = encode(model, TEXTS)
    torch.testing.assert_close(left, means(folder, TEXTS, "left"), atol=1e-5, rtol=1e-5)
    if backbone == "modern":  # positions are relative: the side of the padding changes nothing
        torch.testing.assert_close(left, means(folder, TEXTS), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_the_first_token(tmp_path: Path, library: Any) -> None:
    export(saved(tmp_path / "saved"), tmp_path / "out", (), sentence_embeddings="cls")
    model = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    hidden, _ = states(tmp_path / "out", TEXTS)
    torch.testing.assert_close(encode(model, TEXTS), hidden[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["paper", "modern"])
def test_the_folder_works_without_the_package(backbone: str, tmp_path: Path, library: Any) -> None:
    """And so does its copy that sentence-transformers saves."""
    export(saved(tmp_path / "saved", backbone), tmp_path / "out", (), sentence_embeddings="mean")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_THE_PACKAGE,
            tmp_path / "out",
            json.dumps(TEXTS),
            tmp_path / "embeddings",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    theirs = torch.load(tmp_path / "embeddings")
    torch.testing.assert_close(theirs, means(tmp_path / "out", TEXTS), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [hf.AutoBertZeroForMaskedLM, hf.AutoBertZeroForSequenceClassification])
def test_it_trains_there_and_reloads(kind: type, tmp_path: Path, library: Any) -> None:
    """A pre-trained model, and a fine-tuned one."""
    from datasets import Dataset
    from sentence_transformers import losses

    export(saved(tmp_path / "saved", kind=kind), tmp_path / "out", (), sentence_embeddings="mean")
    model = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    before = encode(model, TEXTS)
    data = Dataset.from_dict({"anchor": TEXTS[:3] * 4, "positive": TEXTS[2:] * 4})
    options = library.SentenceTransformerTrainingArguments(
        str(tmp_path / "trained"),
        max_steps=4,
        per_device_train_batch_size=3,
        learning_rate=1e-3,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
    )
    loss = losses.MultipleNegativesRankingLoss(model)
    library.SentenceTransformerTrainer(model, options, train_dataset=data, loss=loss).train()
    model.eval()
    after = encode(model, TEXTS)
    assert (after - before).abs().max() > 1e-3
    model.save(str(tmp_path / "tuned"))
    again = library.SentenceTransformer(str(tmp_path / "tuned"), device="cpu")
    assert torch.equal(encode(again, TEXTS), after)
    export(tmp_path / "tuned", tmp_path / "once-more", (), sentence_embeddings="mean")
    torch.testing.assert_close(means(tmp_path / "once-more", TEXTS), after, atol=1e-5, rtol=1e-5)
