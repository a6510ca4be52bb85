"""docs/use.md: its commands and its code run, and the predictions that it shows are like real ones."""

import gzip
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import hf_samples
import pytest
import tiny
import trained

from autobert_zero.hf import AutoBertZeroForMaskedLM, AutoBertZeroForQuestionAnswering

PAGE = Path(__file__).parent.parent / "docs" / "use.md"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCES: list[tuple[str, str]] = _FENCE.findall(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The models and the texts that the page names."""
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    trained.classifier(runs / "sst2", "bad", "good")
    trained.classifier(runs / "mnli", "entailment", "neutral", "contradiction")
    trained.save(runs / "hybrid", AutoBertZeroForMaskedLM(hf_samples.config()))
    trained.tagger(runs / "ner")
    (tmp_path / "sentences.txt").write_text("Anna lives in Paris.\n")
    trained.save(runs / "squad", AutoBertZeroForQuestionAnswering(hf_samples.config()))
    texts = "the film was good\nthe play was bad\n"
    (tmp_path / "reviews.txt").write_text(texts)
    with gzip.open(tmp_path / "more.jsonl.gz", "wt") as file:
        file.write(json.dumps({"review": "it was good"}) + "\n")
    (tmp_path / "pairs.csv").write_text("premise,hypothesis\nAnna lives in Paris,Anna lives\n")
    (tmp_path / "masks.txt").write_text("the [MASK] was good\n")
    question = {"question": "who lives in Paris", "context": "Anna lives in Paris ."}
    (tmp_path / "questions.jsonl").write_text(json.dumps(question) + "\n")


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a line of the page in this process; returns what it prints."""
    echo, _, command = line.rpartition(" | ")
    if echo:
        name, text = shlex.split(echo)
        assert name == "echo"
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
    program, *arguments = shlex.split(command)
    assert program == "autobert-zero"
    done = tiny.command(*arguments)
    assert done.code == 0, f"{line}: {done.err}"
    return done.out


def keys(record: Any) -> Any:
    """The shape of a prediction: its keys, and those of what is in it."""
    if isinstance(record, dict):
        return {name: keys(value) for name, value in record.items()}
    return [keys(record[0])] if isinstance(record, list) and record else None


def test_the_page_from_its_top(monkeypatch: pytest.MonkeyPatch) -> None:
    printed, ran, compared = "", 0, 0
    for language, content in FENCES:
        if language == "bash":
            printed = "".join(run(line, monkeypatch) for line in content.splitlines())
            ran += len(content.splitlines())
        elif language == "json":
            assert keys(json.loads(content)) == keys(json.loads(printed.splitlines()[0])), content
            compared += 1
        else:
            assert language == "python"
            exec(content, {})
    assert ran >= 8
    assert compared >= 4
    assert Path("labels.csv").read_text().count("\n") == 4
    assert Path("labels.tsv").read_text().startswith("premise\thypothesis\tlabel\t")
