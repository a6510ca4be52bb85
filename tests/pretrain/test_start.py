"""Trainings that start from a pre-trained model of `transformers`."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
from hf_samples import save_bert
from nn_samples import layers_of
from runs import weights
from tokenizers import Tokenizer

from autobert_zero.hf import AutoBertZeroForMaskedLM
from autobert_zero.pretrain.folder import read_pretrain_config
from autobert_zero.pretrain.model import new_model

BERT = "softmax(scale(Q @ K.T)) @ V"
COMMON = ("--set", "phases=[{steps: 2, length: 16, batch_size: 4}]")
SPARE = 3
"""Rows of the token embedding beyond the tokenizer, as padded vocabularies have them."""


@pytest.fixture(scope="module")
def bert(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with its tokenizer, as `save_pretrained` writes it."""
    tokenizer = Tokenizer.from_file(str(finished_run / "tokenizer.json"))
    return save_bert(
        tmp_path_factory.mktemp("bert"),
        tokenizer,
        transformers.BertForMaskedLM,
        vocab_size=tokenizer.get_vocab_size() + SPARE,
        num_hidden_layers=2,
        layer_norm_eps=1e-5,
    )


def pretrain(*options: Any) -> tiny.Finished:
    return tiny.command("pretrain", *options, *COMMON)


def test_a_bert_goes_on_as_itself(bert: Path, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = pretrain("--start", bert, "--corpus", corpus_file, "--out", out)
    assert done.code == 0, done.err
    config = read_pretrain_config(out)
    assert config.backbone == (BERT, BERT)
    assert "layer 1, softmax(scale(Q @ K.T)) @ V: from layer 1: all weights" in done.log
    tokens = len(weights(out)["encoder.embeddings.token.weight"])
    begun = new_model(config, tokens - SPARE).eval()
    theirs = transformers.BertForMaskedLM.from_pretrained(bert).eval()
    ids = torch.randint(5, tokens - SPARE, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(ids).logits.flatten(0, 1)  # (18, vocabulary)
        torch.testing.assert_close(begun(ids, torch.arange(18)), expected, rtol=1e-5, atol=1e-5)
    saved = AutoBertZeroForMaskedLM.from_pretrained(out)
    assert (saved.config.layer_norm_eps, saved.config.max_position_embeddings) == (1e-5, 32)


def test_another_backbone_inherits_what_fits(bert: Path, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    backbone = "conv 3\nsoftmax(scale(rotary(Q) @ rotary(K).T)) @ V * P"
    done = pretrain("--start", bert, "--backbone", backbone, "--corpus", corpus_file, "--out", out)
    assert done.code == 0, done.err
    assert "layer 1, conv 3: from layer 1: output projection, norms, feed-forward; new: " in done.log
    assert "new: projections of P" in done.log
    begun = new_model(read_pretrain_config(out), len(weights(out)["encoder.embeddings.token.weight"]) - SPARE)
    theirs = transformers.BertModel.from_pretrained(bert, add_pooling_layer=False).encoder.layer[1]
    own = layers_of(begun)[1].attention.projection.weight.split(16)
    for part, name in zip(own, ("query", "key", "value"), strict=False):
        assert torch.equal(part, getattr(theirs.attention.self, name).weight)


def test_it_is_resumed_without_the_model(bert: Path, corpus_file: Path, tmp_path: Path) -> None:
    start, out = tmp_path / "start", tmp_path / "out"
    shutil.copytree(bert, start)
    more = ("--set", "report.checkpoint_every=1")
    assert pretrain("--start", start, "--corpus", corpus_file, "--out", out, *more).code == 0
    before = weights(out)
    shutil.rmtree(start)
    for name in ("summary.json", "model.safetensors"):
        (out / name).unlink()
    done = tiny.command("pretrain", "--out", out, "--resume")
    assert done.code == 0, done.err
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(out).items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--backbone", "bert", "--layers", 3), "the backbone has 3 layers, the model that it starts from 2"),
        (("--set", "model.width=32"), "has width 16, not 32"),
        (("--set", "model.norm=pre"), "has norm post, not pre"),
        (("--set", "model.vocab_size=20"), "model.vocab_size is 20, but the tokenizer has"),
        (("--set", "phases=[{steps: 2, length: 64, batch_size: 2}]"), "32 learned positions"),
        (("--tokenizer", "other.json"), "leave data.tokenizer out"),
    ],
)
def test_what_does_not_fit_is_refused(
    options: tuple[Any, ...], message: str, bert: Path, corpus_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "no"
    refused = tiny.command(
        "pretrain", "--start", bert, "--corpus", corpus_file, *COMMON, *options, "--out", out
    )
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert message in refused.err
    assert not out.exists()


def test_a_model_without_a_tokenizer_is_refused(bert: Path, corpus_file: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    start.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(bert / name, start)
    refused = pretrain("--start", start, "--corpus", corpus_file, "--out", tmp_path / "no")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "tokenizer.json" in refused.err
