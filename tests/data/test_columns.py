"""The column of text: chosen, guessed and said, or left open with the candidates named."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from autobert_zero.data.columns import ColumnError, find_column
from autobert_zero.data.corpus import CorpusError, open_corpus
from autobert_zero.shared_config import CorpusConfig

PROSE = "In the beginning God created the heaven and the earth."

GUESSED: dict[str, dict[str, Any]] = {
    "content": {"id": "a-1", "url": "https://example.org/1", "content": PROSE},
    "body": {"body": PROSE, "title": "Genesis"},
    "text": {"url": "https://example.org/a/very/long/address/of/a/page", "text": "short", "n": 1},
    "text of two": {"content": PROSE, "text": PROSE},
    "Text": {"Title": "Genesis", "Text": PROSE},
    "only": {"id": 1, "phrase": PROSE},
    "longest": {"name": "Moses", "verse": PROSE, "book": "Genesis"},
    "article": {"headline": "x", "article": PROSE, "summary": "y"},
    "known beside longer": {"review": PROSE, "reply": PROSE * 2},
    "blank text": {"text": "", "content": PROSE},
    "verse": {"docId": PROSE, "pageUrl": PROSE, "upload date": PROSE, "fileName": PROSE, "verse": "short"},
}
NAMES = {
    "text of two": "text",
    "only": "phrase",
    "longest": "verse",
    "known beside longer": "review",
    "blank text": "content",
}


@pytest.mark.parametrize(("case", "record"), GUESSED.items(), ids=GUESSED)
def test_guesses(case: str, record: dict[str, Any]) -> None:
    assert find_column("it", [record] * 3) == NAMES.get(case, case)


@pytest.mark.parametrize(
    "record",
    [
        {"question": PROSE, "answer": PROSE},
        {"content": PROSE, "body": PROSE},
        {"english": PROSE, "german": PROSE * 2},
        {"text": "en", "page": PROSE},
    ],
    ids=lambda record: "-".join(record),
)
def test_what_is_open_is_not_guessed(record: dict[str, Any]) -> None:
    with pytest.raises(ColumnError, match="choose one with --text-column") as caught:
        find_column("it", [record] * 3)
    for name, value in record.items():
        assert f"{name} (mean length {len(value)})" in str(caught.value)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"n": 1, "x": 0.5}, "no column of text, only n (int64), x (float64)"),
        ({"text": 1}, "no column of text, only text (int64)"),
        ({"text": ["a"], "n": None}, "no column of text, only text (list), n (null)"),
        (
            {"id": "a-1", "page_url": "b"},
            "only id (string), page_url (string); choose one with --text-column",
        ),
    ],
)
def test_no_text_at_all(record: dict[str, Any], message: str) -> None:
    with pytest.raises(ColumnError) as caught:
        find_column("it", [record])
    assert message in str(caught.value)


def write_records(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_choice_and_its_account(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", {"question": "why?", "answer": "so."}, {"question": "who?"})
    with pytest.raises(CorpusError, match=r"a\.jsonl' has several columns"):
        open_corpus(str(path))
    corpus = open_corpus(CorpusConfig(corpus=str(path), text_column="answer"))
    assert list(corpus.paragraphs) == ["so.", ""]
    assert str(corpus.account).endswith("text from column answer, 1 record has no text there")
    assert "guessed" not in str(corpus.account)
    with pytest.raises(CorpusError, match="no column 'reply' of text, only question"):
        open_corpus(CorpusConfig(corpus=str(path), text_column="reply"))


def test_a_choice_that_begins_far_down(tmp_path: Path) -> None:
    """Records are sampled to guess a column; a chosen one only has to be there."""
    records = [{"text": None, "id": "x"}] * 300 + [{"text": PROSE, "id": "x"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    corpus = open_corpus(CorpusConfig(corpus=str(tmp_path / "a.jsonl"), text_column="text"))
    assert list(corpus.paragraphs) == [""] * 300 + [PROSE]
    with pytest.raises(CorpusError, match="has no column 'body' of text, only text"):
        open_corpus(CorpusConfig(corpus=str(tmp_path / "a.jsonl"), text_column="body"))


def test_a_guess_is_said(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", GUESSED["content"])
    corpus = open_corpus(str(path))
    assert list(corpus.paragraphs) == [PROSE]
    assert str(corpus.account) == (
        f"1 file, {len(PROSE)} characters, text from column content (guessed; --text-column chooses)"
    )


def test_plain_text_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(PROSE)
    for name in (str(tmp_path), "kjv"):
        with pytest.raises(CorpusError, match="has no columns; leave out --text-column title"):
            open_corpus(CorpusConfig(corpus=name, text_column="title"))


def test_files_with_other_columns(tmp_path: Path) -> None:
    write_records(tmp_path / "a.jsonl", {"text": "one", "id": 1}, {"text": "two", "id": "x"})
    write_records(tmp_path / "b.jsonl", {"id": "7", "meta": {"k": [1]}, "text": "three"})
    write_records(tmp_path / "c.jsonl", {"body": "four", "title": "x"})
    corpus = open_corpus(str(tmp_path))
    assert list(corpus.paragraphs) == ["one", "two", "three", "four"]
    assert corpus.account.columns == ("text", "body")
    assert list(corpus.paragraphs) == ["one", "two", "three", "four"]


def test_the_option(tmp_path: Path) -> None:
    words = tiny.paragraphs(150)
    path = write_records(tmp_path / "a.jsonl", *({"left": text, "right": text[::-1]} for text in words))
    call = ["pretrain", "--backbone", "conv 3", "--corpus", path, "--set", "data.vocab_size=200"]
    call += ["--set", "phases=[{steps: 1, length: 16, batch_size: 4}]"]
    refused = tiny.command(*call, "--out", tmp_path / "no")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "choose one with --text-column" in refused.err
    assert not (tmp_path / "no").exists()
    done = tiny.command(*call, "--text-column", "right", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "text_column: right" in (tmp_path / "out" / "pretrain.yaml").read_text()
