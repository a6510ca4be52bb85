"""The page from MiniLM to a faster encoder, and the README's command: they run on a tiny model."""

import json
import re
import shlex
from pathlib import Path

import pytest
import tiny
import transformers
from hf_samples import save_bert
from tokenizers import Tokenizer

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "from-minilm.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
PHASES = ("--set", "phases=[{steps: 2, length: 16, batch_size: 4}]")
SEARCH = {
    "data.length": 16,
    "proxy.candidates": 4,
    "proxy.steps": 2,
    "proxy.warmup_steps": 2,
    "proxy.batch_size": 4,
    "proxy.validation_sequences": 8,
    "strategy.population": 4,
    "strategy.parents": 2,
    "final.finalists": 1,
    "final.screening_steps": 1,
    "final.steps": 2,
    "final.batch_size": 4,
    "space.max_ops": 5,
}
MORE = {
    "search": tuple(part for name, value in SEARCH.items() for part in ("--set", f"{name}={value}")),
    "distil": PHASES,
    "compare": ("--no-onnx", "--length", "8"),
    "export": (),
}
"""What makes each command short."""


def commands(text: str) -> list[str]:
    return [
        line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]


def test_the_readmes_command_is_the_pages_first() -> None:
    assert commands(PAGE)[0] in commands(README)


@pytest.mark.slow
def test_the_commands_work(
    finished_run: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer = Tokenizer.from_file(str(finished_run / "tokenizer.json"))
    save_bert(tmp_path / "minilm", tokenizer, transformers.BertModel, num_hidden_layers=4)
    Path("sentences.txt").write_text(corpus_file.read_text())
    Path("glue", "stsb").mkdir(parents=True)
    first, second, third = tiny.paragraphs(3, seed=1)
    rows = [(first, second, 1.0), (second, third, 2.0), (third, first, 3.0)]
    lines = [json.dumps({"sentence1": a, "sentence2": b, "label": label}) for a, b, label in rows]
    Path("glue", "stsb", "test.jsonl").write_text("\n".join(lines) + "\n")
    for line in commands(PAGE):
        program, command, *given = shlex.split(line.replace(MINILM, "minilm"))
        assert program == ".venv/bin/autobert-zero"
        done = tiny.command(command, *given, *MORE[command])
        assert done.code == 0, (line, done.err)
    assert Path("runs/embedder/1_Pooling/config.json").exists()
    summary = json.loads(Path("runs/continued/summary.json").read_text())
    assert {"holdout_masked_loss", "holdout_cosine"} <= summary.keys()
