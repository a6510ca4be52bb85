"""The examples run from end to end, and the notebook is the script."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import hf_samples
import pytest
import trained
from tokenizers import Tokenizer, models, pre_tokenizers

from autobert_zero.data import corpus, documents
from autobert_zero.hf import AutoBertZeroForMaskedLM
from autobert_zero.hf.tokenizer import wrap_tokenizer

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "first_steps.py"


@pytest.fixture
def few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the example writes, and few steps for it."""
    monkeypatch.setenv("FIRST_STEPS", "2")
    monkeypatch.setenv("FIRST_STEPS_OUT", str(tmp_path))
    return tmp_path / "2-steps"


def check_results(out: Path, printed: str) -> None:
    """What the example leaves and says, of both backbones."""
    for name in ("mine", "BERT"):
        assert (out / name / "model.safetensors").exists()
        assert (out / f"{name}-testaments" / "score.json").exists()
        assert f"{name}: loss " in printed
        assert f"{name}: accuracy " in printed


def test_cells_on_a_twentieth_of_the_text(
    few_steps: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = corpus.open_corpus("kjv")
    matthew = [text for text in whole.paragraphs if text.startswith("The book of the generation of Jesus")]
    (first,) = matthew
    after = list(whole.paragraphs).index(first)
    paragraphs = [*whole.paragraphs[:after:20], *matthew, *whole.paragraphs[after + 1 :: 20]]
    monkeypatch.setattr(documents, "_embedded", lambda document: iter(paragraphs))
    runpy.run_path(str(SCRIPT))
    check_results(few_steps, capsys.readouterr().out)


@pytest.mark.slow
def test_script(few_steps: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    check_results(few_steps, done.stdout)


def test_notebook_is_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    from notebook import NOTEBOOK, notebook

    assert NOTEBOOK.read_text(encoding="utf-8") == notebook(), "make it again: python tools/notebook.py"


@pytest.mark.slow
def test_notebook(few_steps: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    read = nbformat.read(SCRIPT.with_suffix(".ipynb"), as_version=4)
    NotebookClient(read, timeout=600, kernel_name="python3").execute(cwd=str(ROOT))
    outputs = [output for cell in read.cells for output in cell.get("outputs", ())]
    check_results(few_steps, "".join(output.get("text", "") for output in outputs))


def test_fill_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained.save(tmp_path / "m", AutoBertZeroForMaskedLM(hf_samples.config()))
    texts = ["the [MASK] was good", "it [MASK] a [MASK]"]
    monkeypatch.setattr(sys, "argv", ["fill_mask.py", str(model), *texts])
    runpy.run_path(str(ROOT / "examples" / "fill_mask.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        texts[0],
        "  mask 1",
        texts[1],
        "  mask 1",
        "  mask 2",
    ]
    assert [line.count("%") for line in lines] == [0, 5, 0, 5, 5]


def test_tagging(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a tiny model with random weights that knows the words of the example."""
    script = ROOT / "examples" / "tag_words.py"
    example = runpy.run_path(str(script))
    words = {line.split("\t")[0] for line in example["as_conll"](example["TRAIN"]).splitlines() if line}
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    wrap_tokenizer(made, 20).save_pretrained(tmp_path / "model")
    sizes = {"vocab_size": len(names), "hidden_dropout_prob": 0.0}
    AutoBertZeroForMaskedLM(hf_samples.config("conv 3", **sizes)).save_pretrained(tmp_path / "model")
    example["main"](str(tmp_path / "model"), tmp_path / "out")
    printed = capsys.readouterr().out
    assert "| names | f1 | " in printed
    assert "Ruth\tB-PER\t" in printed
    assert "LOC: New York (" in printed


@pytest.mark.slow
def test_semantic_search(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="pip install 'autobert-zero[suite]'")
    environment = {**os.environ, "SEARCH_STEPS": "2", "SEARCH_OUT": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command: list[str | Path] = [sys.executable, ROOT / "examples" / "semantic_search.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    for name in ("words alone (TF-IDF)", "pre-trained", "trained on pairs"):
        assert f"{name}: the next sentence is the nearest of 200 for " in done.stdout
    assert done.stdout.count(" -> ") == 3
    assert (tmp_path / "2-steps" / "trained-embedder" / "modules.json").exists()
