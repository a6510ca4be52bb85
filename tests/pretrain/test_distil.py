"""Distillation through the command line: learned, saved, resumed, refused."""

import json
from pathlib import Path

import pytest
import tiny
import transformers
from hf_samples import save_bert
from runs import same, weights
from tokenizers import Tokenizer

from autobert_zero.cli.pretrain import pretrain_settings
from autobert_zero.errors import UserError
from autobert_zero.export.card import model_card
from autobert_zero.export.sources import open_source

COMMON = ("--set", "phases=[{steps: 6, length: 16, batch_size: 4}]", "--set", "report.checkpoint_every=3")


@pytest.fixture(scope="module")
def tokenizer(finished_run: Path) -> Tokenizer:
    return Tokenizer.from_file(str(finished_run / "tokenizer.json"))


@pytest.fixture(scope="module")
def teacher(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    return save_bert(folder, tokenizer, transformers.BertModel, num_hidden_layers=4)


def test_its_plan_has_the_teachers_vocabulary(teacher: Path) -> None:
    phases = "phases=[{steps: 1, length: 16, batch_size: 4}]"
    given = ("--backbone", "conv 3", "--hardware", "t4", "--set", phases)
    done = tiny.command("plan", "distil", *given, "--teacher", teacher)
    assert done.code == 0, done.err
    assert done.out == tiny.command("plan", "pretrain", *given, "--tokenizer", teacher).out
    assert done.out != tiny.command("plan", "pretrain", *given).out
    assert "--teacher" in tiny.command("plan", "distil", *given).err


def test_from_the_teachers_weights(teacher: Path, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("--teacher", teacher, "--start", teacher, "--backbone", "conv 3\nsoftmax(scale(Q @ K.T)) @ V")
    done = tiny.command("distil", *given, "--corpus", corpus_file, "--out", out, *COMMON)
    assert done.code == 0, done.err
    assert f"teacher {teacher}: 4 layers, width 16" in done.log
    assert "layer 2, softmax(scale(Q @ K.T)) @ V: from layer 4: all weights" in done.log
    summary = json.loads((out / "summary.json").read_text())
    assert summary["teacher"] == str(teacher)
    assert -1 <= summary["holdout_cosine"] <= 1
    assert f"cosine to the teacher {summary['holdout_cosine']:.4f}" in done.out
    # The head was not trained, so it is not saved.
    saved = json.loads((out / "config.json").read_text())
    assert saved["architectures"] == ["AutoBertZeroModel"]
    source = open_source(out)
    assert source.summary == summary
    assert f"Distilled from `{teacher}` for 6 steps" in model_card(source, "code.py", "picture.png", [])


def test_other_widths_and_all_losses(tokenizer: Tokenizer, corpus_file: Path, tmp_path: Path) -> None:
    teacher = save_bert(tmp_path / "teacher", tokenizer, transformers.BertForMaskedLM)
    out = tmp_path / "out"
    losses = [f"distil.{name}=1" for name in ("hidden", "relations", "logits", "masked")]
    options = [part for each in (*losses, "model.width=8", "model.heads=2") for part in ("--set", each)]
    given = ("--teacher", teacher, "--backbone", "conv 3", "--corpus", corpus_file, *COMMON)
    done = tiny.command("distil", *given, "--out", out, *options)
    assert done.code == 0, done.err
    summary = json.loads((out / "summary.json").read_text())
    parts = [
        summary[f"holdout_{name}_loss"] for name in ("embedding", "hidden", "relations", "logits", "masked")
    ]
    assert summary["holdout_loss"] == pytest.approx(sum(parts), rel=1e-5)
    assert json.loads((out / "config.json").read_text())["architectures"] == ["AutoBertZeroForMaskedLM"]
    assert not [name for name in weights(out) if "projection" in name and "convolution" not in name]


def test_resumed_bit_by_bit(teacher: Path, corpus_file: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    given = (
        "--teacher",
        teacher,
        "--backbone",
        "conv 3",
        "--corpus",
        corpus_file,
        "--set",
        "model.width=8",
        *COMMON,
    )
    for out in (whole, resumed):
        assert tiny.command("distil", *given, "--out", out).code == 0
    for name in ("summary.json", "model.safetensors"):
        (resumed / name).unlink()
    last = sorted((resumed / "checkpoints").iterdir())[-1]
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    done = tiny.command("distil", "--out", resumed, "--resume")
    assert done.code == 0, done.err
    assert same(whole, resumed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name a model to learn from with --teacher"),
        (("--set", "distil.embedding=0"), "all losses have weight 0"),
        (("--set", "distil.logits=1"), "has no head that predicts masked tokens"),
        (("--set", "distil.relations=1", "--set", "distil.relation_heads=3"), "does not divide the widths"),
        (("--set", "phases=[{steps: 2, length: 64, batch_size: 2}]"), "the teacher has 32 positions"),
    ],
)
def test_bad_input(
    options: tuple[str, ...], message: str, teacher: Path, corpus_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "no"
    named = ("--teacher", teacher) if options else ()
    given = (*named, "--backbone", "conv 3", "--corpus", corpus_file, *COMMON, *options)
    refused = tiny.command("distil", *given, "--out", out)
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert message in refused.err
    assert not out.exists()


def test_another_vocabulary_is_refused(teacher: Path, corpus_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    tokenizer.add_tokens(["qqqq"])
    save_bert(other, tokenizer, transformers.BertModel)
    given = ("--teacher", teacher, "--start", other, "--corpus", corpus_file, *COMMON)
    refused = tiny.command("distil", *given, "--out", tmp_path / "no")
    assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
    assert "has another vocabulary than" in refused.err


def test_rates(teacher: Path, tmp_path: Path) -> None:
    """A distillation that starts from weights has a lower rate; --set counts before it."""
    options = dict.fromkeys(("layers", "config", "text_column", "tokenizer", "seed"))
    options |= {"teacher": str(teacher), "backbone": "conv 3", "corpus": ["kjv"], "out": tmp_path}
    options |= {"preset": "demo", "resume": False}

    def rate(start: Path | None, *more: str) -> float:
        given = {"start": start and str(start), "set_": [COMMON[1], *more]}
        return pretrain_settings(options | given).recipe.learning_rate

    rates = rate(None), rate(teacher), rate(teacher, "recipe.learning_rate=2e-4")
    assert rates == (3e-3, 1e-3, 2e-4)


def test_the_teacher_may_be_in_the_file(teacher: Path, tmp_path: Path) -> None:
    """An option counts before the file, and what follows from a teacher holds for both."""
    file = tmp_path / "mine.yaml"
    file.write_text(f"distil: {{teacher: {teacher}, hidden: 1}}\n")
    options = dict.fromkeys(("layers", "text_column", "tokenizer", "seed", "start", "corpus", "teacher"))
    options |= {"backbone": "conv 3", "preset": "demo", "resume": False, "set_": [COMMON[1]], "config": file}
    config = pretrain_settings(options, "distil")
    assert config.distil is not None
    assert (config.distil.teacher, config.distil.hidden, config.data.isolated) == (str(teacher), 1, True)
    other = pretrain_settings(options | {"teacher": "other"}, "distil").distil
    assert (other and other.teacher, other and other.hidden) == ("other", 1)
    with pytest.raises(UserError, match="name a model to learn from with --teacher"):
        pretrain_settings(options | {"config": None}, "distil")
