"""Corpora: every kind of file is read, and every bad input gets one clear line."""

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autobert_zero.data.corpus import Corpus, CorpusError, open_corpus, unwatched
from autobert_zero.shared_config import CorpusConfig

TEXT = ["In the beginning", "", "the Earth was würst 大地", "  and void  "]


def lines(texts: list[str]) -> bytes:
    return "\n".join(texts).encode()


def records(texts: list[str], column: str = "text") -> bytes:
    return b"".join(json.dumps({"id": i, column: text}).encode() + b"\n" for i, text in enumerate(texts))


def zipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def parquet(path: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def paragraphs(corpus: Corpus) -> list[str]:
    return [text for batch in corpus.batches(unwatched, size=3) for text in batch]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", lines(TEXT)),
        ("a.txt.gz", zipped(lines(TEXT))),
        ("a.jsonl", records(TEXT)),
        ("a.jsonl.gz", zipped(records(TEXT))),
        ("a.content.jsonl", records(TEXT, column="content")),
        ("UPPER.TXT", lines(TEXT)),
        ("b.c.d.txt", lines(TEXT)),
        ("with space é.txt", lines(TEXT)),
        ("a[1]{b}?.txt", lines(TEXT)),
    ],
)
def test_files(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    corpus = open_corpus(str(path))
    assert paragraphs(corpus) == TEXT
    assert corpus.name == str(path)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    path = parquet(tmp_path / "a.parquet", n=pa.array([1, 2, 3, 4]), text=pa.array(TEXT, kind))
    assert paragraphs(open_corpus(str(path))) == TEXT


def test_a_folder_of_mixed_kinds(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "a.txt").write_bytes(lines(["one", "two"]))
    (tmp_path / "deep" / "b.txt.gz").write_bytes(zipped(lines(["three"])))
    (tmp_path / "deep" / "er" / "c.jsonl").write_bytes(records(["four", "five"]))
    parquet(tmp_path / "d.parquet", text=pa.array(["six"], pa.large_string()))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "notes.md").write_text("not read")
    (tmp_path / "folder.txt").mkdir()
    assert sorted(paragraphs(open_corpus(str(tmp_path)))) == ["five", "four", "one", "six", "three", "two"]


def test_nulls_are_empty_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a b"}\n{"text": null}\n{"text": "c"}\n')
    corpus = open_corpus(str(path))
    assert paragraphs(corpus) == ["a b", "", "c"]
    assert [corpus.paragraphs[index] for index in range(3)] == ["a b", "", "c"]


def test_the_embedded_corpus_is_prose() -> None:
    corpus = open_corpus("kjv")
    assert sum(len(text.encode()) for text in corpus.paragraphs) >= 3_000_000
    assert all(text.strip() for text in corpus.paragraphs)
    text = " ".join(corpus.paragraphs)
    assert "In the beginning God created the heaven and the earth." in text
    assert not set("[]<>\0") & set(text)
    assert open_corpus("kjv").identity == corpus.identity


def test_the_identity_follows_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    first = open_corpus(str(path)).identity
    assert open_corpus(str(path)).identity == first
    path.write_text("another")
    changed = open_corpus(str(path))
    assert changed.identity != first
    assert paragraphs(changed) == ["another"]


def test_the_identity_is_of_the_content_alone(tmp_path: Path) -> None:
    """Old time stamps do not hide new text, and other names do not make other text."""
    path = tmp_path / "a.txt"
    path.write_text("one two")
    stamp = path.stat()
    first = open_corpus(str(path))
    path.write_text("two one")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    other = open_corpus(str(path))
    assert paragraphs(other) == ["two one"]
    assert other.identity != first.identity
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.jsonl.gz").write_bytes(zipped(records(["one two"])))
    assert open_corpus(str(tmp_path / "folder")).identity == first.identity
    path.write_text("one\ntwo")
    assert (
        open_corpus(str(path)).identity
        != open_corpus(CorpusConfig(corpus=str(path), document="file")).identity
    )


def test_a_corpus_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo")
    corpus = open_corpus(str(path))
    assert (corpus.paragraphs[1], corpus.paragraphs[-1], len(corpus.paragraphs)) == ("two", "two", 2)
    assert corpus.paragraphs[::-1] == ["two", "one"]
    path.write_text("one\nthree")
    with pytest.raises(CorpusError, match="changed while it was read"):
        paragraphs(corpus)


def test_batches_of_long_documents_are_small() -> None:
    corpus = Corpus("long", "0", ["x" * 3_000_000] * 5)
    assert [len(batch) for batch in corpus.batches(unwatched)] == [2, 2, 1]


def test_batches_tell_how_far_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join("abcdefg"))
    seen: list[tuple[int, int]] = []
    batches = list(open_corpus(str(path)).batches(lambda done, of: seen.append((done, of)), size=3))
    assert batches == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert seen == [(3, 7), (6, 7), (7, 7)]


def nothing(path: Path) -> None:
    pass


def writes(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


COMPRESSED = zipped(random.Random(0).randbytes(3000).hex().encode())

BAD = {
    "missing": ("no.txt", nothing, "does not exist; name a file, a folder, or a dataset"),
    "missing folder": ("no/such/", nothing, "does not exist"),
    "empty": ("a.txt", writes(b""), "is empty; it needs text"),
    "blank": ("a.txt", writes(b" \n\t\n\n"), "is empty; it needs text"),
    "empty gz": ("a.txt.gz", writes(zipped(b"")), "is empty; it needs text"),
    "empty records": ("a.jsonl", writes(b'{"text": ""}\n{"text": " "}\n'), "is empty; it needs text"),
    "binary": ("a.txt", writes(b"abc\0\1\2"), "is binary, not text"),
    "binary records": ("a.jsonl", writes(bytes(range(256))), "is binary, not text"),
    "UTF-16": ("a.txt", writes("hello".encode("utf-16")), "is binary, not text"),
    "Latin-1": ("a.txt", writes("größer".encode("latin-1")), "is not UTF-8 text; convert it first"),
    "Latin-1 far in": ("a.txt", writes(b"hello\n" * 20_000 + b"gr\xf6\xdfer"), "cannot be read as text"),
    "fake gz": ("a.txt.gz", writes(b"plain text"), "ends in .gz but is not a gzip file"),
    "cut gz": ("a.txt.gz", writes(COMPRESSED[:1000]), "is a damaged gzip file"),
    "gz with another end": ("a.txt.gz", writes(COMPRESSED + b"end"), "is a damaged gzip file"),
    "gz with another sum": ("a.txt.gz", writes(COMPRESSED[:-8] + bytes(8)), "is a damaged gzip file"),
    "twice gz": ("a.txt.gz", writes(gzip.compress(COMPRESSED)), "it is compressed twice; unpack it once"),
    "damaged gz": ("a.txt.gz", writes(COMPRESSED[:40] + bytes(60) + COMPRESSED[100:]), "is a damaged gzip"),
    "broken jsonl": ("a.jsonl", writes(b'{"text": "a"}\n{"text": '), "cannot be read as json"),
    "prose as jsonl": ("a.jsonl", writes(b"Once upon a time\n"), "cannot be read as json"),
    "no text column": ("a.jsonl", writes(b'{"n": 1}\n{"n": 2}\n'), "no column of text, only n (int64)"),
    "numbers as text": ("a.jsonl", writes(b'{"text": 1}\n'), "no column of text, only text (int64)"),
    "fake parquet": ("a.parquet", writes(b"plain text"), "cannot be read as parquet"),
    "no text in parquet": (
        "a.parquet",
        lambda path: parquet(path, n=pa.array([1, 2])),
        "no column of text, only n (int64)",
    ),
    "folder without files": ("folder", Path.mkdir, "has no file that ends in .txt"),
    "unknown kind": ("a.pdf", writes(b"%PDF"), "has no file that ends in .txt"),
}


@pytest.mark.parametrize(("name", "make", "message"), BAD.values(), ids=BAD)
def test_bad_input(
    tmp_path: Path, cache: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(CorpusError) as caught:
        open_corpus(f"{tmp_path}/{name}")
    assert message in str(caught.value)
    assert name.rstrip("/") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_a_folder_of_empty_files(tmp_path: Path) -> None:
    for name in ("a.txt", "b.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(CorpusError, match="is empty"):
        open_corpus(str(tmp_path))


def test_a_bad_file_in_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("hello")
    (tmp_path / "bad.txt").write_bytes(b"\0\1")
    with pytest.raises(CorpusError, match=r"bad\.txt is binary"):
        open_corpus(str(tmp_path))


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name(name: str) -> None:
    with pytest.raises(CorpusError, match="name of the corpus is empty"):
        open_corpus(name)


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing", "nobody/nothing:half", "some/no.1:2023.en"])
def test_a_dataset_that_cannot_be_loaded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=r"is not a local file, and as a dataset .* cannot be loaded"):
        open_corpus(name)
