"""The exported folder: what is in it, that it works without the package, and that programs are exact."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import hf_samples
import matplotlib.image
import numpy as np
import onnx
import onnxruntime
import pytest
import tiny
import torch
import transformers
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from autobert_zero import hf
from autobert_zero.errors import UserError
from autobert_zero.export import export, programs
from autobert_zero.export.sources import open_source
from autobert_zero.export.training_notes import training_notes
from autobert_zero.hf.auto import MODELS
from autobert_zero.report import draw
from autobert_zero.space import Backbone
from autobert_zero.zoo.layers import GATED_CONVOLUTION, GATED_ROTARY
from autobert_zero.zoo.trunks import MODERN_TRUNK


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path) -> Path:
    """A finished run of a search."""
    folder = tmp_path_factory.mktemp("runs") / "found"
    config = folder.parent / "tiny.yaml"
    config.write_text(tiny.config(corpus_file, proxy={"candidates": 2}).to_yaml())
    assert tiny.command("search", "--config", config, "--out", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    folder = run.parent / "exported"
    done = tiny.command("export", run, folder)
    assert done.code == 0, done.err
    assert "model.onnx: differs from PyTorch by at most" in done.out
    return folder


def saved(
    folder: Path, kind: type[transformers.PreTrainedModel], **changes: object
) -> transformers.PreTrainedModel:
    model = hf_samples.randomise(kind(hf_samples.config(**changes)))
    model.save_pretrained(folder)
    return model


def test_a_run_becomes_a_folder(exported: Path, run: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    assert names == {
        *("README.md", "backbone.png", "backbone.txt", "config.json", "model.onnx", "model.pt2"),
        *("model.safetensors", "modeling_autobert_zero.py", "tokenizer.json", "tokenizer_config.json"),
    }
    assert (exported / "backbone.txt").read_text() == (run / "best.txt").read_text()
    assert [path.name for path in run.parent.iterdir() if path.name.startswith(".")] == []


def test_the_folder_works_without_the_package(exported: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    inputs = dict(tokenizer(["a b c", "d"], ["e", "f g"], padding=True, return_tensors="pt"))
    assert sorted(inputs) == ["attention_mask", "input_ids", "token_type_ids"]
    assert tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])[0] == "[CLS]"
    assert set(inputs["token_type_ids"].unique().tolist()) == {0, 1}
    (theirs,) = hf_samples.without_the_package("AutoModelForMaskedLM", exported, inputs)
    model = hf.AutoBertZeroForMaskedLM.from_pretrained(exported).eval()
    with torch.no_grad():
        assert torch.equal(theirs, model(**inputs).logits)


def test_the_card_says_what_was_measured(exported: Path, run: Path) -> None:
    card = (exported / "README.md").read_text()
    summary = json.loads((run / "summary.json").read_text())
    assert card.startswith("---\nlibrary_name: transformers\nlicense: apache-2.0\n")
    assert 'AutoTokenizer.from_pretrained("FOLDER_OR_NAME", trust_remote_code=True)' in card
    assert f"{summary['best']['val_loss']:.4f}" in card
    assert f"{summary['bert']['val_loss']:.4f}" in card
    assert f"{summary['best']['parameters']:,}" in card
    assert "](backbone.png)" in card
    source = open_source(run)
    assert source.summary is not None
    best = source.summary["best"]
    tried = replace(source, summary={**source.summary, "best": {**best, "learning_rate": 0.0123}})
    assert "peak rate 0.0123" in training_notes(tried)[0]


def test_the_backbone_is_drawn(exported: Path) -> None:
    drawing = draw.scene(Backbone.parse((exported / "backbone.txt").read_text()))
    picture = matplotlib.image.imread(exported / "backbone.png")
    assert picture.shape[:2] == pytest.approx((2 * drawing.height, 2 * drawing.width), abs=2)
    assert picture.std() > 0.05  # not blank


def test_onnx_takes_any_batch_and_length(exported: Path) -> None:
    onnx.checker.check_model(onnx.load(exported / "model.onnx"))
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    assert [each.shape for each in session.get_inputs()] == [["batch", "tokens"]] * 3
    model = hf.AutoBertZeroForMaskedLM.from_pretrained(exported).eval()
    for batch, tokens in ((1, 1), (4, 3), (2, 16)):
        ids = torch.randint(model.config.vocab_size, (batch, tokens))
        mask = torch.ones_like(ids)
        mask[0, tokens // 2 + 1 :] = 0
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        (logits,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        with torch.no_grad():
            expected = model(**inputs).logits
        real = mask.bool().numpy()
        np.testing.assert_allclose(logits[real], expected.numpy()[real], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("auto", [auto for auto in MODELS if auto is not transformers.AutoModelForMaskedLM])
def test_every_head_is_exported(tmp_path: Path, auto: type) -> None:
    model = saved(tmp_path / "saved", MODELS[auto])
    (program,) = export(tmp_path / "saved", tmp_path / "out", ("torch",))
    assert program.difference <= programs.TOLERANCE
    loaded = torch.export.load(tmp_path / "out" / "model.pt2").module()
    inputs = hf_samples.batch()
    if auto is transformers.AutoModelForMultipleChoice:
        inputs = {name: value[None] for name, value in inputs.items()}
    with torch.no_grad():
        expected = model(**inputs)
        got = loaded(*[inputs[name] for name in programs.MODEL_INPUTS])
    assert tuple(expected.keys()) == program.outputs
    mask = inputs["attention_mask"].bool()
    for ours, theirs in zip(expected.to_tuple(), got, strict=True):
        per_token = ours.shape[: mask.ndim] == mask.shape
        torch.testing.assert_close(*((x[mask] if per_token else x) for x in (ours, theirs)))


def test_a_saved_model_works_without_the_package(tmp_path: Path) -> None:
    """Of a published backbone, with padding."""
    model = saved(tmp_path / "saved", hf.AutoBertZeroForQuestionAnswering)
    assert export(tmp_path / "saved", tmp_path / "out", ()) == []
    assert "does not record how it was trained" in (tmp_path / "out" / "README.md").read_text()
    theirs = hf_samples.without_the_package(
        "AutoModelForQuestionAnswering", tmp_path / "out", hf_samples.batch()
    )
    with torch.no_grad():
        for ours, other in zip(model(**hf_samples.batch()).to_tuple(), theirs, strict=True):
            assert torch.equal(hf_samples.real(ours), hf_samples.real(other))


def test_the_card_of_a_pre_training(tmp_path: Path) -> None:
    saved(tmp_path / "saved", hf.AutoBertZeroForMaskedLM)
    (tmp_path / "saved" / "pretrain.yaml").touch()
    summary = {"steps": 1200, "tokens": 34000, "seed": 7, "holdout_loss": 4.25, "holdout_mlm_accuracy": 0.5}
    (tmp_path / "saved" / "summary.json").write_text(json.dumps(summary))
    export(tmp_path / "saved", tmp_path / "out", ())
    card = (tmp_path / "out" / "README.md").read_text()
    assert "1,200 steps (34,000 tokens), seed 7. Loss on held-out text 4.2500 nats, accuracy 0.5000." in card
    (tmp_path / "saved" / "summary.json").write_text("{}")
    with pytest.raises(UserError, match=r"summary\.json is damaged: it lacks steps, tokens"):
        export(tmp_path / "saved", tmp_path / "again", ())


def test_a_damaged_summary_of_a_search_is_named(run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    summary = json.loads((run / "summary.json").read_text())
    for damage in (
        {"best": {**summary["best"], "val_loss": None}},
        {"bert": None},
        {"bert": {"status": "complete"}},
        {"search_seconds": "long"},
    ):
        (damaged / "summary.json").write_text(json.dumps(summary | damage))
        with pytest.raises(UserError, match=rf"^{damaged}/summary\.json is damaged: "):
            export(damaged, tmp_path / "out", ())
        assert not (tmp_path / "out").exists()


def test_a_damaged_score_of_a_fine_tuning_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "saved", hf.AutoBertZeroForSequenceClassification)
    (tmp_path / "saved" / "finetune.json").touch()
    score = {"task": "sst2", "rate": 1e-3, "seeds": 1, "mean": {"validation": {"accuracy": 0.5}}}
    for damage in (
        {"rate": None},
        {"rate": "fast"},
        {"mean": {"validation": None}},
        {"mean": {"validation": {"accuracy": None}}},
    ):
        (tmp_path / "saved" / "score.json").write_text(json.dumps(score | damage))
        with pytest.raises(UserError, match=r"score\.json is damaged: "):
            export(tmp_path / "saved", tmp_path / "out", ())
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", ["save_pretrained", pytest.param("Trainer", marks=pytest.mark.slow)])
def test_a_saved_copy_of_an_exported_model_works_without_the_package(how: str, tmp_path: Path) -> None:
    """It has the code that its config.json names; a plain model has none."""
    saved(tmp_path / "saved", hf.AutoBertZeroForSequenceClassification, classifier_pooling="cls+mean")
    assert not list((tmp_path / "saved").glob("*.py"))
    export(tmp_path / "saved", tmp_path / "out", ())
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert isinstance(model, hf.AutoBertZeroForSequenceClassification)
    copy = tmp_path / "copies" / "copy"
    if how == "Trainer":
        options = transformers.TrainingArguments(str(tmp_path / "trained"), report_to=[], use_cpu=True)
        transformers.Trainer(model, options).save_model(str(copy))
    else:
        model.save_pretrained(copy)
    code = "modeling_autobert_zero.py"
    assert (copy / code).read_text() == (tmp_path / "out" / code).read_text()
    (theirs,) = hf_samples.without_the_package("AutoModelForSequenceClassification", copy, hf_samples.batch())
    with torch.no_grad():
        assert torch.equal(model(**hf_samples.batch()).logits, theirs)


@pytest.mark.parametrize("kernel", [5, pytest.param(65, marks=pytest.mark.slow)])
def test_convolutions_of_long_sequences_are_exported(kernel: int, tmp_path: Path) -> None:
    """Beyond the lengths at which the convolution changes its algorithm; the model knows one segment."""
    config = hf_samples.config(
        [f"conv {kernel}", hf_samples.STANDARD], max_position_embeddings=512, type_vocab_size=1
    )
    hf_samples.randomise(hf.AutoBertZeroForMaskedLM(config)).save_pretrained(tmp_path / "saved")
    written = export(tmp_path / "saved", tmp_path / "out")
    assert [program.file for program in written] == ["model.pt2", "model.onnx"]
    assert all((5, 512) in program.shapes for program in written)


@pytest.mark.parametrize("limit", [1, 2])
def test_models_of_very_short_sequences_are_exported(limit: int, tmp_path: Path) -> None:
    """Programs have a dimension of tokens only where more than one size is possible."""
    config = hf_samples.config(["conv 3"], max_position_embeddings=limit)
    hf_samples.randomise(hf.AutoBertZeroForMaskedLM(config)).save_pretrained(tmp_path / "saved")
    written = export(tmp_path / "saved", tmp_path / "out")
    assert [program.file for program in written] == ["model.pt2", "model.onnx"]
    assert all((5, limit) in program.shapes for program in written)


@pytest.mark.parametrize("setting", ["output_hidden_states", "output_attentions"])
def test_what_a_config_asks_for_beside_the_result_is_not_in_the_program(setting: str, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    hf_samples.randomise(hf.AutoBertZeroForMaskedLM(hf_samples.config(["conv 3"]))).save_pretrained(saved)
    settings = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**settings, setting: True}))
    (program,) = export(saved, tmp_path / "out", ("torch",))
    assert program.outputs == ("logits",)


def test_an_empty_folder_is_filled_where_it_is(tmp_path: Path) -> None:
    """It may be a mount, which cannot be replaced, or be reached through a link, which stays."""
    saved(tmp_path / "saved", hf.AutoBertZeroModel)
    empty, inside = tmp_path / "empty", tmp_path / "inside"
    empty.mkdir(mode=0o700)
    inside.symlink_to(empty)
    number = empty.stat().st_ino
    export(tmp_path / "saved", inside, ())
    assert inside.is_symlink()
    assert (empty.stat().st_ino, empty.stat().st_mode & 0o777) == (number, 0o700)
    assert {"config.json", "model.safetensors"} <= {path.name for path in empty.iterdir()}
    assert not [path.name for path in empty.iterdir() if path.name.startswith(".")]
    (tmp_path / "link").symlink_to(tmp_path / "later")
    export(tmp_path / "saved", tmp_path / "link", ())
    assert (tmp_path / "later" / "config.json").is_file()


@pytest.mark.slow
def test_the_modern_primitives_and_trunk_are_exported(tmp_path: Path) -> None:
    """At lengths beyond the training's, as programs and as the code in the folder."""
    config = hf_samples.config([GATED_ROTARY, GATED_CONVOLUTION, "conv 5"], **MODERN_TRUNK)
    model = hf_samples.randomise(hf.AutoBertZeroForMaskedLM(config))
    model.save_pretrained(tmp_path / "saved")
    written = export(tmp_path / "saved", tmp_path / "out")
    assert [program.file for program in written] == ["model.pt2", "model.onnx"]
    longer = 4 * config.max_position_embeddings
    assert all((5, longer) in program.shapes for program in written)
    assert all(program.difference <= programs.TOLERANCE for program in written)
    ids = torch.randint(config.vocab_size, (2, longer), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(longer) < torch.tensor([[longer], [longer - 9]])).long()
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    exported = get_class_from_dynamic_module(
        "modeling_autobert_zero.AutoBertZeroForMaskedLM", str(tmp_path / "out")
    )
    assert exported.__module__.startswith("transformers_modules.")
    theirs = exported.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        assert torch.equal(theirs(**inputs).logits[mask.bool()], model(**inputs).logits[mask.bool()])


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_folder_and_files_follow_the_umask(umask: int, tmp_path: Path) -> None:
    saved(tmp_path / "saved", hf.AutoBertZeroForMaskedLM)
    before = os.umask(umask)
    try:
        export(tmp_path / "saved", tmp_path / "out", ())
    finally:
        os.umask(before)
    files = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()}
    assert "model.safetensors" in files
    assert set(files.values()) == {0o666 & ~umask}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_program_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "saved", hf.AutoBertZeroForMaskedLM)
    right = programs._WRITERS["torch"][1]

    def wrong(*given: Any) -> programs._Run:
        run = right(*given)
        return lambda batch: [output + 0.01 * output.abs().max() for output in run(batch)]

    monkeypatch.setitem(programs._WRITERS, "torch", ("model.pt2", wrong))
    with pytest.raises(UserError, match=r"model\.pt2 differs from the model by 1\.0e-02 at \(1, 1\)"):
        export(tmp_path / "saved", tmp_path / "out", ("torch",))
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_bad_input_is_one_line_and_changes_nothing(run: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    (tmp_path / "nothing").mkdir()
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    diverged = tmp_path / "diverged"
    diverged.mkdir()
    summary = json.loads((run / "summary.json").read_text())
    summary["best"] |= {"status": "diverged", "reason": "loss is nan at step 3"}
    (diverged / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    (diverged / "summary.json").write_text(json.dumps(summary))
    transformers.BertModel(hf_samples.bert_config()).save_pretrained(tmp_path / "bert")
    before = tiny.contents(tmp_path)
    for source, out, message in (
        (run, tmp_path / "full", "holds other files already"),
        (tmp_path / "nothing", tmp_path / "out", "holds neither a run"),
        (tmp_path / "missing", tmp_path / "out", "holds neither a run"),
        (unfinished, tmp_path / "out", "is not finished; continue it with: search --out"),
        (diverged, tmp_path / "out", "diverged when trained in full (loss is nan at step 3)"),
        (tmp_path / "bert", tmp_path / "out", "holds a model of type bert, not autobert-zero"),
    ):
        done = tiny.command("export", source, out)
        assert (done.code, done.out.strip()) == (2, ""), message
        assert message in done.err
        assert done.err.count("\n") == 1
        assert tiny.contents(tmp_path) == before


def test_missing_packages_are_named(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = tiny.command("export", run, tmp_path / "out")
    assert done.code == 2
    assert (
        "ONNX needs onnxruntime: pip install 'autobert-zero[export]', or leave it out with --no-onnx"
        in done.err
    )
    assert not (tmp_path / "out").exists()
