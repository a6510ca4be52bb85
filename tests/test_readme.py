"""The front page and the package's metadata: what they promise is there."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import tiny
import yaml

import autobert_zero

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def index_page() -> str:
    """The README as a package index shows it."""
    text = README
    for each in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    return text


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]*)\)|src=\"([^\"]*)\"", README)
    local = [target for pair in targets for target in pair if target and not target.startswith("https:")]
    assert len(local) > 20
    assert [target for target in local if not leads_somewhere(target)] == []


def leads_somewhere(target: str) -> bool:
    """Whether a link's file is there, and in it the heading that the link names."""
    path, _, anchor = target.partition("#")
    file = ROOT / path if path else ROOT / "README.md"
    if not file.exists() or not anchor:
        return file.exists()
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    ("target", "there"),
    [
        ("docs/results.md#who-leaves-the-plateau", True),
        ("docs/results.md", True),
        ("#two-commands", True),
        ("docs/results.md#no-such-heading", False),
        ("docs/no_such_page.md#who-leaves-the-plateau", False),
    ],
)
def test_a_link_leads_to_a_heading_or_nowhere(target: str, there: bool) -> None:
    assert leads_somewhere(target) == there


def test_an_index_page_has_no_link_into_the_repository() -> None:
    text = index_page()
    assert "<img" not in text
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("https:")] == []
    assert "Getting started" in text


def test_the_commands_are_on_the_first_screen() -> None:
    lines = README.splitlines()
    assert lines.index("make setup                             # creates .venv with pinned packages") < 30
    assert "pip install -e" in README


def test_the_snippet_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(snippet, names)
    assert type(names["classifier"]).__name__ == "AutoBertZeroForSequenceClassification"


@pytest.mark.slow
def test_the_chain_ends_in_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands as they stand, with few steps and a tiny SST-2 in place of the Hub's."""
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    section = README.partition("## From a corpus to predictions\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    pretrain, finetune, write, predict = block.splitlines()
    for split in ("train", "validation"):
        rows = [{"sentence": f"{word} film", "label": i % 2} for i, word in enumerate(["bad", "good"] * 8)]
        Path(f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    more = {pretrain: ["--set", "phases=[{steps: 2}]"], finetune: ["--data", "."], predict: []}
    subprocess.run(write, shell=True, check=True)
    for command, options in more.items():
        program, *arguments = shlex.split(command)
        assert program == ".venv/bin/autobert-zero"
        done = tiny.command(*arguments, *options)
        assert done.code == 0, done.err
    predictions = [json.loads(line) for line in done.out.splitlines()]
    assert [each["text"] for each in predictions] == Path("mine.txt").read_text().splitlines()
    assert {each["label"] for each in predictions} <= {"negative", "positive"}


def test_the_citation_is_the_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    assert citation["url"] == PROJECT["project"]["urls"]["Paper"]
    assert f"title     = {{{citation['title']}}}" in README
    assert f"pages     = {{{citation['start']}--{citation['end']}}}" in README
    assert f"doi       = {{{citation['doi']}}}" in README
    for author in citation["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in README


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(autobert_zero.__file__).parent / "py.typed").exists()
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]
