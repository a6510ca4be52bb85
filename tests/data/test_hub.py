"""Datasets on the Hub, prepared: their names, their column of text, and their identity."""

from pathlib import Path
from typing import Any

import datasets
import pytest

from autobert_zero.data import hub
from autobert_zero.data.corpus import CorpusError, open_corpus
from autobert_zero.shared_config import CorpusConfig

ROWS = [{"id": "a-1", "url": "https://example.org", "content": text} for text in ("one two", None, "three")]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """A Hub that has one dataset under every name; notes what it was asked for."""
    calls: list[tuple[Any, ...]] = []

    def load(name: str, configuration: str | None, **options: Any) -> datasets.Dataset:
        calls.append((name, configuration))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "check_hub", lambda *arguments: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wikimedia/wikipedia:20231101.en", ("wikimedia/wikipedia", "20231101.en")),
        ("user/data-v1.1", ("user/data-v1.1", None)),
        ("wikitext:wikitext-103-raw-v1", ("wikitext", "wikitext-103-raw-v1")),
        ("user/a.b:c.d", ("user/a.b", "c.d")),
    ],
)
def test_names_with_dots(asked: list[tuple[Any, ...]], name: str, expected: tuple[Any, ...]) -> None:
    corpus = open_corpus(name)
    assert asked == [expected]
    assert corpus.name == name
    assert list(corpus.paragraphs) == ["one two", "", "three"]
    assert corpus.account.columns == ("content",)
    assert corpus.account.guessed


def test_the_identity_is_that_of_the_same_text_in_a_file(
    asked: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one two\n\nthree\n")
    assert open_corpus("user/data").identity == open_corpus("a.txt").identity
    mixed = open_corpus(CorpusConfig(corpus=("user/data", str(tmp_path / "a.txt"))))
    assert list(mixed.paragraphs) == ["one two", "", "three"] * 2


def test_a_column_that_is_chosen(asked: list[tuple[Any, ...]]) -> None:
    assert open_corpus(CorpusConfig(corpus="user/data", text_column="id")).paragraphs[0] == "a-1"
    with pytest.raises(CorpusError, match="'user/data' has no column 'text' of text, only id"):
        open_corpus(CorpusConfig(corpus="user/data", text_column="text"))


def test_a_local_name_is_never_asked_for(asked: list[tuple[Any, ...]]) -> None:
    for name in (
        "./user/data",
        "books.txt",
        "user/books.jsonl",
        "user/books.TXT.GZ",
        "/nowhere/data",
        "a/b/c",
    ):
        with pytest.raises(CorpusError, match="does not exist; name a file, a folder, or a dataset"):
            open_corpus(name)
    assert asked == []
