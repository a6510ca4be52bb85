"""Text files are decoded to their end; what is wrong is named with its file, its place and a remedy."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.data.corpus import CorpusError, open_corpus
from autobert_zero.data.lines import Damage, Line, read_lines
from autobert_zero.shared_config import CorpusConfig

SCRIPTS = {
    "Japanese": "吾輩は猫である。名前はまだ無い。",
    "Chinese": "道可道,非常道。",
    "Greek": "Ἐν ἀρχῇ ἦν ὁ λόγος",
    "Russian": "В начале было Слово",
    "French": "Au commencement était la Parole",
    "emoji": "🜁🜂🜃🜄",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("shift", range(4))
def test_long_files_of_every_script(tmp_path: Path, text: str, shift: int) -> None:
    """Wherever a reader cuts the bytes, no character is cut."""
    texts = ["x" * shift + text * 20] * (70_000 // len(text.encode()) // 20 + 1)
    path = tmp_path / "a.txt"
    path.write_text("\n".join(texts), encoding="utf-8")
    assert path.stat().st_size > 1 << 16
    assert list(open_corpus(str(path)).paragraphs) == texts


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0")), min_size=1))
def test_lines_are_those_of_the_file(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8", newline="")
    expected = [texts[0].removeprefix("\ufeff"), *texts[1:]]
    lines = list(read_lines(path))
    assert all(isinstance(line, Line) for line in lines)
    assert [line.text for line in lines if isinstance(line, Line)] == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_byte_order_marks(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(end.join(["one", "two", ""]).encode("utf-8-sig"))
    assert list(read_lines(path)) == [Line(1, "one"), Line(2, "two")]


WRONG = {
    "at the start": (b"\xf6l\n", "line 1, byte 0: 0xf6"),
    "at the end": (b"abc\n" * 50_000 + b"gr\xfcn", "line 50,001, byte 200,002: 0xfc"),
    "in the middle": (
        "größe\n".encode() * 10_000 + b"\xe9\n" + b"x\n" * 10_000,
        "line 10,001, byte 80,000: 0xe9",
    ),
    "a character cut at the end": ("大".encode() + b"\n" + "大".encode()[:2], "line 2, byte 4: 0xe5"),
    "Shift-JIS": ("猫である".encode("shift-jis"), "line 1, byte 0: 0x94"),
}


@pytest.mark.parametrize(("content", "place"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.log", "a.jsonl"])
def test_the_first_wrong_byte_is_named(tmp_path: Path, content: bytes, place: str, name: str) -> None:
    if name == "a.jsonl":
        content = b'{"text": "' + content.replace(b"\n", b'"}\n{"text": "') + b'"}'
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    with pytest.raises(CorpusError) as caught:
        open_corpus(str(path))
    message = str(caught.value)
    assert f"{path} is not UTF-8 text; convert it first" in message
    assert "iconv -f LATIN1 -t UTF-8" in message
    assert place.split(",")[0] in message
    assert name == "a.jsonl" or place in message
    assert "\n" not in message


OTHER = {
    "UTF-16": ("hello".encode("utf-16"), "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    "UTF-16 big": (b"\xfe\xff" + "hello".encode("utf-16-be"), "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    "UTF-16 of Chinese": ("道可道".encode("utf-16"), "UTF-16", "iconv -f UTF-16 -t UTF-8"),
    "UTF-16 without a mark": ("hello".encode("utf-16-le"), "UTF-16LE", "iconv -f UTF-16LE -t UTF-8"),
    "UTF-32": ("hello".encode("utf-32"), "UTF-32", "iconv -f UTF-32 -t UTF-8"),
    "wrong bytes and zeros": (b"a\n\xff\x00\n", "binary", "line 2, byte 3 is zero"),
    "zeros far in": (b"a\n" * 40_000 + b"\0", "binary", "line 40,001, byte 80,000 is zero"),
    "gzip by another name": (gzip.compress(b"hello", mtime=0), "gzip", "unpack it, or name it .gz"),
}


@pytest.mark.parametrize(("content", "kind", "remedy"), OTHER.values(), ids=OTHER)
def test_other_kinds_are_named(tmp_path: Path, content: bytes, kind: str, remedy: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    (damage,) = [line for line in read_lines(path) if isinstance(line, Damage)]
    assert f"{path} is binary, not text" in str(damage)
    assert kind in str(damage)
    assert remedy in str(damage)


WRAPPED = "It was a dark and\n  stormy night.\n\n \nThe rain\nfell.\n\n"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("line", ["It was a dark and", "  stormy night.", "", " ", "The rain", "fell.", ""]),
        ("paragraph", ["It was a dark and stormy night.", "The rain fell."]),
        ("file", [WRAPPED.removesuffix("\n")]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_a_document_is(tmp_path: Path, document: str, expected: list[str], end: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(WRAPPED.replace("\n", end).encode())
    config = CorpusConfig.model_validate({"corpus": str(path), "document": document})
    assert list(open_corpus(config).paragraphs) == expected


def test_documents_end_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / "b.txt").write_text("three\n\nfour")
    (tmp_path / "c.jsonl").write_text('{"text": "five\\n\\nsix"}')
    config = CorpusConfig(corpus=str(tmp_path), document="paragraph")
    assert list(open_corpus(config).paragraphs) == ["one two", "three", "four", "five\n\nsix"]
    config = CorpusConfig(corpus=str(tmp_path), document="file")
    assert list(open_corpus(config).paragraphs) == ["one\ntwo", "three\n\nfour", "five\n\nsix"]
