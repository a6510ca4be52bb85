"""The benchmarks around MiniLM: their --quick runs, and which files of a folder are their text."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autobert_zero.errors import UserError

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("continuing", {"before", "masked", "masked_and_own"}),
        ("from_minilm", {"teacher_spearman", "found_spearman", "found_speedup", "best_opponent_spearman"}),
        ("distillation_score", {"kendall_tau", "candidates_per_minute", "candidates_per_minute_scratch"}),
    ],
)
def test_quick(name: str, keys: set[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", "--quick"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["benchmark"] == name
    assert figures["quick"] is True
    assert keys <= figures.keys()


def test_text_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of tables, what is not text at all, and the sentences of a test are left out."""
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(FOLDER)
    from minilm import write_sentences

    for name, content in (
        ("a/train.txt", b"One. Two!\nOne.\n"),
        ("b/train.jsonl", b'{"sentence": "three", "label": 1}\n'),
        ("c/train.tsv", b"sentence\tlabel\nfour\t1\n"),
        ("c/train.parquet", b"PAR1\xff\x00"),
        ("c/test.txt", b"five\n"),
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_sentences([tmp_path / "data"], tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text().splitlines() == ["One.", "Two!", "three"]
    write_sentences([tmp_path / "data"], tmp_path / "rest.txt", without=["Two!", " three "])
    assert (tmp_path / "rest.txt").read_text().splitlines() == ["One."]
    with pytest.raises(UserError, match=r"holds no text \(train.txt, train.txt.gz, train.jsonl\)"):
        write_sentences([tmp_path / "data" / "c"], tmp_path / "none.txt")
