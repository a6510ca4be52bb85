"""What `autobert-zero predict` refuses: in one line that says what to do, with nothing written."""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import hf_samples
import numpy as np
import pytest
import tiny
import torch
import trained
from transformers import BertForSequenceClassification, BertLMHeadModel, BertModel

from autobert_zero.hf import (
    AutoBertZeroForMaskedLM,
    AutoBertZeroForQuestionAnswering,
    AutoBertZeroForSequenceClassification,
    AutoBertZeroModel,
)
from autobert_zero.predict.write import FORMATS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("good film\n")
    return tmp_path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of every kind by the name of their folder."""
    folder = tmp_path_factory.mktemp("models")
    trained.classifier(folder / "classifier", "bad", "good")
    trained.classifier(folder / "regression", "value", problem_type="regression")
    trained.save(folder / "masked", AutoBertZeroForMaskedLM(hf_samples.config()))
    trained.save(folder / "encoder", AutoBertZeroModel(hf_samples.config()))
    trained.save(folder / "answers", AutoBertZeroForQuestionAnswering(hf_samples.config()))
    return folder


def refused(*arguments: object) -> str:
    """Runs a mistake; returns its one line."""
    before = tiny.contents(Path())
    done = tiny.command("predict", *arguments)
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err
    assert tiny.contents(Path()) == before
    return done.err.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("options", "file", "message"),
    [
        (
            ["--keep-columns", "id"],
            "a.csv",
            "has no column 'id' to keep; there are text, label, labels",
        ),
        (
            ["--keep-columns", "all", "--format", "csv"],
            "b.csv",
            "the predictions have a column 'label' too, and 'label_given' is taken; rename it in the table",
        ),
        (["--keep-columns", "all"], "texts.txt", "texts.txt: lines of text have no columns to keep"),
        (
            ["--keep-columns", "labels", "--task", "embed", "--out", "a.npy"],
            "a.csv",
            "npy holds no other columns; leave out --keep-columns",
        ),
    ],
)
def test_columns_that_cannot_be_kept(models: Path, options: list[str], file: str, message: str) -> None:
    Path("a.csv").write_text("text,label,labels\ngood,1,2\n")
    Path("b.csv").write_text("text,label,label_given\ngood,1,2\n")
    assert message in refused("--model", models / "classifier", *options, file)


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        (
            "masked",
            "labels",
            "was not trained for labels: its class is AutoBertZeroForMaskedLM; fine-tune it first",
        ),
        ("masked", "scores", "use --task mask or --task embed"),
        ("encoder", "labels", "fine-tune it first (autobert-zero finetune), or use --task embed"),
        (
            "classifier",
            "mask",
            "not trained for mask: its class is AutoBertZeroForSequenceClassification; use --task l",
        ),
        ("classifier", "answers", "was not trained for answers"),
        ("classifier", "scores", "was not trained for scores"),
        ("regression", "labels", "was not trained for labels"),
        ("encoder", "mask", "was not trained for mask: its class is AutoBertZeroModel; use --task embed"),
        ("classifier", "summary", "--task must be auto or one of labels, scores, "),
        ("masked", "mask", "texts.txt, line 1: there is no [MASK] in 'good film'"),
        ("masked", "auto", "texts.txt, line 1: there is no [MASK] in 'good film'"),
    ],
)
def test_tasks(models: Path, name: str, task: str, message: str) -> None:
    assert message in refused("--model", models / name, "--task", task, "texts.txt")


def test_a_choice_is_named_once(models: Path) -> None:
    assert refused("--model", models / "encoder", "--task", "mask", "texts.txt").endswith(
        "its class is AutoBertZeroModel; use --task embed"
    )


@pytest.mark.parametrize("make", [BertForSequenceClassification, AutoBertZeroForSequenceClassification])
def test_weights_of_another_size(tmp_path: Path, make: Any) -> None:
    """With the remedy of a user of the command, not that of a caller of `from_pretrained`."""
    ours = make is AutoBertZeroForSequenceClassification
    model = trained.save(tmp_path / "m", make(hf_samples.config() if ours else hf_samples.bert_config()))
    config = json.loads((model / "config.json").read_text())
    names = {str(number): f"class {number}" for number in range(7)}
    (model / "config.json").write_text(json.dumps({**config, "id2label": names, "label2id": {}}))
    message = refused("--model", model, "texts.txt")
    assert message.startswith(f"the weights of {model} cannot be read: the size of ")
    assert message.endswith(" and 1 more tensor is not that of config.json; copy the model's files again")


def test_a_folder_without_a_tokenizer(models: Path, folder: Path) -> None:
    model = folder / "model"
    shutil.copytree(models / "classifier", model, ignore=shutil.ignore_patterns("tokenizer*"))
    assert refused("--model", model, "texts.txt") == (
        f"{model} has no tokenizer that can be read (no tokenizer.json or tokenizer_config.json); export the "
        "run, or save the tokenizer next to it"
    )


def test_models_that_say_another_class_than_they_are(models: Path, tmp_path: Path) -> None:
    """The weights decide: a head that is missing would be random."""
    for name, claim in (
        ("masked", "AutoBertZeroForSequenceClassification"),
        ("encoder", "AutoBertZeroForMaskedLM"),
    ):
        model = tmp_path / name
        model.mkdir()
        for path in (models / name).iterdir():
            (model / path.name).write_bytes(path.read_bytes())
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"architectures": [claim]}))
        (tmp_path / "masks.txt").write_text("[MASK]")
        message = refused("--model", model, "masks.txt")
        assert f"the weights of {model} are not those of a {claim}: " in message


def test_models_without_a_task_or_a_class(tmp_path: Path) -> None:
    model = trained.save(tmp_path / "m", BertModel(hf_samples.bert_config()))
    config = json.loads((model / "config.json").read_text())
    for architectures, message in (
        (
            ["BertForNextSentencePrediction"],
            "has the class BertForNextSentencePrediction, for which there is no task",
        ),
        (None, "is a model whose config.json names no class; choose with --task: labels"),
    ):
        (model / "config.json").write_text(json.dumps(config | {"architectures": architectures}))
        assert message in refused("--model", model, "texts.txt")
        done = tiny.command("predict", "--model", model, "--task", "embed", "texts.txt")
        assert done.code == 0, done.err


def test_pickles_and_models_that_are_not_there(models: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for path in (models / "classifier").iterdir():
        if path.suffix != ".safetensors":
            (pickled / path.name).write_bytes(path.read_bytes())
    torch.save({}, pickled / "pytorch_model.bin")
    assert "pickles are not loaded" in refused("--model", "pickled", "texts.txt")
    assert "does not exist" in refused("--model", "./none", "texts.txt")
    assert "texts.txt is a file" in refused("--model", "texts.txt", "texts.txt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "there is no file none.txt"),
        ("a.docx", b"PK", "a.docx: texts are read from files that end in .txt, "),
        ("a", b"good", "a: texts are read from files that end in .txt, "),
        ("a.parquet", b"PAR1", "a.parquet: texts are read from files that end in "),
        ("a.txt", b"", "a.txt has no texts"),
        ("a.csv", b"text\n", "a.csv has no texts"),
        ("a.csv", b"", "a.csv has no texts"),
        ("a.jsonl", b"\n\n", "a.jsonl has no texts"),
        ("a.jsonl", b'{"text": "good"}\n{"text": \n', "line 2: not JSON: Expecting value (column 10)"),
        ("a.jsonl", b'{"text": "good"}\n["bad"]\n', "a.jsonl, line 2: not a JSON object"),
        (
            "a.jsonl",
            b'{"text": "good"}\n\n{"txt": "bad"}\n',
            "a.jsonl, line 3: no column 'text'; there are txt",
        ),
        ("a.jsonl", b'{"text": "good"}\n{"text": 3}\n', "a.jsonl, line 2: column 'text' holds no text but 3"),
        ("a.jsonl", b'{"text": ["good"]}\n', "a.jsonl has no column of text"),
        ("a.jsonl", b'{"a": "good film", "b": "bad film"}\n', "several columns that could be the text: "),
        ("a.jsonl", b'{"a": 1}\n', "a.jsonl has no column of text, only a (int64)"),
        ("a.csv", b"id,text\n1,good\n2\n", "a.csv, line 3: 1 column, not 2"),
        ("a.csv", b'text\n"good\n', "a.csv, line 2: "),
        ("a.tsv", b"id\ttext\n1\tgood\tbad\n", "a.tsv, line 2: 3 columns, not 2"),
        ("a.txt", b"good\nb\xe4d\n", "a.txt is not UTF-8 text; convert it first"),
        ("a.txt", b"good\0\n", "a.txt is binary, not text"),
        ("a.txt", gzip.compress(b"good", mtime=0), "it is a gzip file; unpack it, or name it .gz"),
        ("a.txt.gz", b"good", "a.txt.gz ends in .gz but is not a gzip file"),
    ],
)
def test_inputs(models: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    assert message in refused("--model", models / "classifier", "--out", "out.csv", name)


@pytest.mark.parametrize(
    ("name", "columns", "content", "message"),
    [
        ("classifier", "txt", b"id,text\n1,good\n", "a.csv, line 2: no column 'txt'; there are id, text"),
        ("classifier", "a,b,c", b"a,b,c\n1,2,3\n", "this model takes 1 or 2 columns of text, not 3"),
        ("classifier", "text,text", b"text\ngood\n", "--columns text,text has the column 'text' twice"),
        ("classifier", "text,", b"text\ngood\n", "a column without a name"),
        ("answers", "text", b"text\ngood\n", "this model takes 2 columns of text, not 1"),
        (
            "answers",
            None,
            b"question,text\nwho,good\n",
            "lacks the columns question, context; there are question, t",
        ),
    ],
)
def test_columns(models: Path, name: str, columns: str | None, content: bytes, message: str) -> None:
    Path("a.csv").write_bytes(content)
    options = () if columns is None else ("--columns", columns)
    assert message in refused("--model", models / name, *options, "a.csv")


def test_lines_have_no_columns(models: Path) -> None:
    for columns in ("a,b", "text"):
        assert "texts.txt: lines of text have no columns; leave out --columns" in refused(
            "--model", models / "classifier", "--columns", columns, "texts.txt"
        )
    Path("a.csv").write_text("a,b\ngood,bad\n")
    assert "texts.txt has lines of text, not the columns a, b" in refused(
        "--model", models / "classifier", "--columns", "a,b", "a.csv", "texts.txt"
    )
    assert "not the columns question, context" in refused("--model", models / "answers", "texts.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "xml"), "--format 'xml' is not a format; there are jsonl, csv, tsv"),
        (("--out", "out.xml"), "out.xml: the extension '.xml' is not a format; there are jsonl, csv, tsv"),
        (("--out", "out"), "--out out: the extension '' is not a format"),
        (("--format", "npy", "--out", "out.npy"), "can be written as jsonl or csv or tsv, not as npy"),
        (("--task", "embed", "--format", "npy"), "npy is binary and can only be written to a file"),
        (("--task", "embed", "--out", "out.csv"), "this task can be written as npy or jsonl, not as csv"),
        (("--out", "."), "--out . is a folder; name a file in it"),
        (("--out", "texts.txt", "--format", "csv"), "--out texts.txt is also an input"),
        (
            ("--out", "texts.txt/new/out.csv"),
            "texts.txt/new/out.csv cannot be written: texts.txt is a file, not a folder",
        ),
        (("--top-k", "3"), "--top-k applies to --task mask, not to labels"),
        (("--device", "cuda:77"), "device 'cuda:77' cannot be used"),
    ],
)
def test_outputs_and_options(models: Path, options: tuple[str, ...], message: str) -> None:
    assert message in refused("--model", models / "classifier", *options, "texts.txt")


def test_files_of_the_model_are_not_overwritten(models: Path) -> None:
    model = models / "classifier"
    before = tiny.contents(model)
    for out in (model / "tokenizer.json", model / ".." / "classifier" / "model.safetensors"):
        assert refused("--model", model, "--format", "csv", "--out", out, "texts.txt") == (
            f"--out {out} is a file in the folder of the model; name another file"
        )
    assert tiny.contents(model) == before


@pytest.mark.parametrize("name", ["classifier", "regression", "masked", "encoder", "answers"])
def test_numbers_that_are_not_finite(models: Path, folder: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    damaged = folder / name
    shutil.copytree(models / name, damaged)
    tensors = load_file(damaged / "model.safetensors")
    next(each for key, each in tensors.items() if "norm" in key).fill_(torch.nan)
    save_file(tensors, damaged / "model.safetensors", {"format": "pt"})
    Path("a.jsonl").write_text('{"text": "good [MASK]", "question": "who", "context": "Anna"}')
    assert refused("--model", damaged, "--out", "out.jsonl", "a.jsonl") == (
        "the model computes numbers that are not finite in fp32"
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({0: "bad", 1: "bad"}, "id2label names two classes 'bad'; give each its own name"),
        ({0: "bad", 2: "good"}, "id2label has names for the classes 0, 2; number them 0 to 1"),
    ],
)
def test_names_of_classes(models: Path, folder: Path, names: dict[int, str], message: str) -> None:
    model = folder / "model"
    shutil.copytree(models / "classifier", model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "id2label": names, "label2id": {}}))
    assert refused("--model", model, "texts.txt") == f"config.json of {model}: {message}"


def test_more_tokens_than_there_are(models: Path) -> None:
    Path("masks.txt").write_text("[MASK]")
    assert "--top-k 51 exceeds the 50 tokens" in refused(
        "--model", models / "masked", "--top-k", 51, "masks.txt"
    )


def test_standard_input_twice_or_empty(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "can be read only once" in refused("--model", models / "classifier", "-", "-")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert refused("--model", models / "classifier", "-") == "standard input has no texts"


def test_a_damaged_line_late_in_standard_input_leaves_no_file(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = '{"text": "good"}\n' * 300 + "{\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert "standard input, line 301: not JSON" in refused(
        "--model", models / "classifier", "-o", "out.csv", "-"
    )


def test_encoders_with_decoders_are_not_embedded(tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    config = T5Config(vocab_size=50, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    model = trained.save(tmp_path / "t5", T5Model(config))
    assert "has a decoder" in refused("--model", model, "texts.txt")


@pytest.mark.slow
def test_a_closed_pipe_ends_quietly(models: Path) -> None:
    """A reader that leaves after the first lines, as `| head` does; far more texts than a pipe holds."""
    Path("many.txt").write_text("good film\n" * 4_000)
    command = [sys.executable, "-m", "autobert_zero.cli", "predict", "--model", str(models / "classifier")]
    with subprocess.Popen(
        [*command, "many.txt"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["text"] == "good film"
        process.stdout.close()
        log = process.stderr.read().decode()
        assert process.wait() == 0
    assert "Traceback" not in log
    assert "texts predicted" not in log


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv"])
def test_half_characters_are_escaped(models: Path, form: str) -> None:
    """In columns that are only repeated: JSON can hold them, UTF-8 cannot."""
    Path("a.jsonl").write_text('{"text": "good film", "id": "\\ud800x"}\n')
    out = Path(f"out.{form}")
    given = ("--model", models / "classifier", "--keep-columns", "id", "--out", out, "a.jsonl")
    assert tiny.command("predict", *given).code == 0
    assert "\\ud800x" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_lines_hold_what_the_terminal_lacks(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    record = {"text": "é 語 😀 \ud800"}
    FORMATS["jsonl"](stream).write([record])
    stream.flush()
    assert json.loads(stream.buffer.getvalue().decode(encoding)) == record


def test_kept_numbers_that_json_lacks_are_null(models: Path) -> None:
    Path("a.jsonl").write_text('{"text": "good film", "weight": NaN}\n')
    done = tiny.command("predict", "--model", models / "classifier", "--keep-columns", "weight", "a.jsonl")
    assert done.code == 0, done.err
    assert '"weight": null' in done.out


def test_ctrl_c_leaves_no_file(models: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    from autobert_zero.predict import run

    def interrupt(*given: object) -> None:
        assert [path.suffix for path in folder.glob("out*")] == [".partial"]
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_predict_block", interrupt)
    before = tiny.contents(folder)
    done = tiny.command(
        "predict", "--model", models / "classifier", "--out", "out.npy", "--task", "embed", "texts.txt"
    )
    assert (done.code, done.err) == (130, "stopped; out.npy is not written; start again\n")
    assert tiny.contents(folder) == before


def test_decoders_can_be_embedded(tmp_path: Path) -> None:
    model = trained.save(tmp_path / "m", BertLMHeadModel(hf_samples.bert_config(is_decoder=True)))
    assert tiny.command("predict", "--model", model, "--out", "out.npy", "texts.txt").code == 0
    assert np.load("out.npy").shape == (1, hf_samples.WIDTH)


def test_classifiers_of_bert_without_their_pooler(tmp_path: Path) -> None:
    """The pooler is part of the head here, other than for embeddings."""
    from safetensors.torch import load_file, save_file

    model = trained.save(tmp_path / "m", BertForSequenceClassification(hf_samples.bert_config()))
    tensors = {
        name: each for name, each in load_file(model / "model.safetensors").items() if "pooler" not in name
    }
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    assert "2 tensors are missing, among them bert.pooler" in refused("--model", model, "texts.txt")
