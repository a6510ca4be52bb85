"""Commands whose optional packages are missing say in a line how to install them, and do nothing."""

import sys
import tomllib
from pathlib import Path

import pytest
import tiny

from autobert_zero.extras import EXTRAS, missing_extra

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
PACKAGES = {"sklearn": "scikit-learn"}


@pytest.mark.parametrize(
    ("module", "command", "message"),
    [
        ("transformers", "pretrain", "pretrain needs transformers: pip install 'autobert-zero[pretrain]'"),
        ("tensorboard", "pretrain", "pretrain needs tensorboard: pip install 'autobert-zero[pretrain]'"),
        ("sklearn", "finetune", "finetune needs sklearn: pip install 'autobert-zero[finetune]'"),
        ("transformers", "glue", "glue needs transformers: pip install 'autobert-zero[finetune]'"),
        ("transformers", "plan", "plan finetune needs transformers: pip install 'autobert-zero[finetune]'"),
        ("transformers", "export", "export needs transformers: pip install 'autobert-zero[export]'"),
        ("onnxscript", "export", "ONNX needs onnxscript: pip install 'autobert-zero[export]', or leave it"),
        ("matplotlib", "draw", ".pdf needs matplotlib: pip install 'autobert-zero[draw]'"),
    ],
)
def test_one_line_and_nothing_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, command: str, message: str
) -> None:
    out = tmp_path / "out.pdf"
    arguments = {
        "pretrain": ("--backbone", "conv 3", "--out", out),
        "finetune": ("--model", "m", "--task", "rte", "--out", out),
        "glue": ("--model", "m", "--out", out),
        "plan": ("finetune", "--model", "m", "--task", "rte"),
        "export": (tmp_path, out),
        "draw": ("conv 3", "-o", out),
    }
    monkeypatch.setitem(sys.modules, module, None)
    done = tiny.command(command, *arguments[command])
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
    assert not out.exists()


def test_all_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("transformers", "tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    done = tiny.command("pretrain", "--backbone", "conv 3", "--out", tmp_path / "out")
    assert "pretrain needs transformers and tensorboard: pip install" in done.err


def test_an_import_that_nobody_foresaw(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ModuleNotFoundError("No module named 'accelerate'", name="accelerate.utils")

    monkeypatch.setattr("autobert_zero.cli.app", fails)
    done = tiny.command()
    assert (done.code, done.err) == (
        2,
        "error: this needs accelerate: pip install 'autobert-zero[pretrain]'\n",
    )
    assert missing_extra(ModuleNotFoundError(name="autobert_zero.nothing")) is None


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_brings_its_modules(extra: str) -> None:
    for module in EXTRAS[extra]:
        assert PACKAGES.get(module, module) in brought_by(extra)


def brought_by(extra: str) -> set[str]:
    """Names of the packages that an extra asks for, with those of the extras that it includes."""
    names = set()
    for line in PROJECT["optional-dependencies"][extra]:
        if line.startswith("autobert-zero["):
            for part in line.partition("[")[2].rstrip("]").split(","):
                names |= brought_by(part)
        else:
            names.add(line.partition(">")[0])
    return names
