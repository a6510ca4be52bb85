"""`minimal-pairs` from the command line, on saved models of ours and of `transformers`."""

import errno
import json
from pathlib import Path

import pytest
import tiny
from hf_samples import config
from pairs_samples import PIECES, SENTENCES, bert, loop_score, tokenizer, write_lines
from transformers import BertModel, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from autobert_zero.data.normalisation import SPECIAL_TOKENS
from autobert_zero.hf import (
    AutoBertZeroForMaskedLM,
    AutoBertZeroForPreTraining,
    AutoBertZeroForSequenceClassification,
)
from autobert_zero.minimal_pairs import results as results_module
from autobert_zero.training import precision

SIZES = {"vocab_size": len(SPECIAL_TOKENS) + len(PIECES)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [
        {"sentence_good": good, "sentence_bad": bad, "UID": f"p{number % 2}", "linguistics_term": "agreement"}
        for number, (good, bad) in enumerate(SENTENCES)
    ]
    return write_lines(tmp_path / "pairs.jsonl", rows)


def saved(tmp_path: Path, model: PreTrainedModel) -> Path:
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def test_scores_a_folder_of_transformers(tmp_path: Path, data: Path) -> None:
    folder, out = saved(tmp_path, bert()), tmp_path / "results" / "pairs.json"
    done = tiny.command("minimal-pairs", "--model", folder, "--data", data, "--out", out, "--per-pair")
    assert done.code == 0, done.err
    results = json.loads(out.read_text())
    expected = [[loop_score(text, bert(), tokenizer()) for text in pair] for pair in SENTENCES]
    for scores, pair in zip(expected, results["pairs"], strict=True):
        assert [pair["good"], pair["bad"]] == pytest.approx(scores, abs=1e-4)
    correct = sum(good > bad for good, bad in expected)
    assert results["overall"]["correct"] == correct
    assert f"| all | {100 * correct / 6:.1f} |" in done.out
    assert "| p0 |" in done.out
    assert "are unknown to the tokenizer" in done.out
    assert results["method"] == "PLL"
    assert results["precision"] == "fp32"
    assert results["data"] == [str(data)]


@pytest.mark.parametrize("kind", [AutoBertZeroForMaskedLM, AutoBertZeroForPreTraining])
def test_scores_a_folder_of_ours(tmp_path: Path, data: Path, kind: type) -> None:
    folder = saved(tmp_path, kind(config(**SIZES)))
    done = tiny.command("minimal-pairs", "--model", folder, "--data", data, "--within-word")
    assert done.code == 0, done.err
    assert "| all |" in done.out
    assert "PLL-word-l2r" in done.out


@pytest.mark.parametrize("fast", [False, True])
def test_the_number_format_is_recorded(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: fast)
    folder, out = saved(tmp_path, bert()), tmp_path / "pairs.json"
    for chosen, used in (("bf16", "bf16"), ("auto", "bf16" if fast else "fp32")):
        given = ("--model", folder, "--data", data, "--out", out, "--precision", chosen)
        assert tiny.command("minimal-pairs", *given).code == 0
        assert json.loads(out.read_text())["precision"] == used


@pytest.mark.parametrize("second", [["--data"], []])
def test_two_files_are_one_set(tmp_path: Path, data: Path, second: list[str]) -> None:
    (tmp_path / "own.csv").write_text("good,bad\nthe cat runs,the cat run\n")
    folder, out = saved(tmp_path, bert()), tmp_path / "pairs.json"
    files = (data, *second, tmp_path / "own.csv")
    done = tiny.command("minimal-pairs", "--model", folder, "--data", *files, "--out", out)
    assert done.code == 0, done.err
    assert json.loads(out.read_text())["paradigms"].keys() == {"own", "p0", "p1"}


WITHOUT_HEAD = {
    "an encoder": (lambda: BertModel(bert().config), "lacks cls.predictions.bias"),
    "a classifier": (lambda: AutoBertZeroForSequenceClassification(config(**SIZES)), "lacks"),
    "a decoder": (
        lambda: GPT2LMHeadModel(GPT2Config(**SIZES, n_embd=8, n_head=1, n_layer=1)),
        "models of type gpt2 have none",
    ),
}


@pytest.mark.parametrize("name", WITHOUT_HEAD)
def test_a_model_without_a_head_is_refused(tmp_path: Path, data: Path, name: str) -> None:
    make, message = WITHOUT_HEAD[name]
    folder, out = saved(tmp_path, make()), tmp_path / "pairs.json"
    done = tiny.command("minimal-pairs", "--model", folder, "--data", data, "--out", out)
    assert done.code == 2
    assert f"{folder} has no masked-language-model head" in done.err
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not out.exists()


def test_mistakes_are_one_line(tmp_path: Path, data: Path) -> None:
    folder = saved(tmp_path, bert(max_position_embeddings=6))
    (tmp_path / "bad.jsonl").write_text('{"sentence_good": "a"}\n')
    for arguments, message in [
        (("--model", tmp_path / "none", "--data", data), "does not exist"),
        (("--model", folder, "--data", tmp_path / "bad.jsonl"), "bad.jsonl, line 1: a pair needs the column"),
        (("--model", folder, "--data", data), "line 2: a sentence has 7 tokens, more than the 6 positions"),
        (("--model", folder, "--data", data, "--per-pair"), "--per-pair writes to the file of --out"),
        (("--model", folder, "--data", data, "--out", tmp_path), "is a folder"),
        (("--model", folder, "--data", data, "--out", data), "is also an input"),
        (
            ("--model", folder, "--data", tmp_path, "--out", tmp_path / "new" / "x.json"),
            f"x.json is in {tmp_path}, a folder of inputs",
        ),
        (
            ("--model", folder, "--data", data, "--out", folder / "config.json"),
            "config.json is a file in the folder of the model",
        ),
        (
            ("--model", tmp_path / "none", "--data", data, "--out", data / "x.json"),
            f"x.json cannot be written: {data} is a file, not a folder",
        ),
    ]:
        done = tiny.command("minimal-pairs", *arguments)
        assert done.code == 2
        assert message in done.err
        assert done.err.count("\n") == 1


def test_results_next_to_the_model_are_replaced(tmp_path: Path, data: Path) -> None:
    folder = saved(tmp_path, bert())
    out = folder / "minimal_pairs.json"
    for _ in range(2):
        assert tiny.command("minimal-pairs", "--model", folder, "--data", data, "--out", out).code == 0
    assert json.loads(out.read_text())["overall"]["pairs"] == 6


def test_results_that_cannot_be_written_are_printed(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(results_module, "write_text", refuse)
    out = tmp_path / "pairs.json"
    done = tiny.command("minimal-pairs", "--model", saved(tmp_path, bert()), "--data", data, "--out", out)
    assert done.code == 2
    assert "| all |" in done.out
    assert f"error: {out} cannot be written: Input/output error" in done.err
