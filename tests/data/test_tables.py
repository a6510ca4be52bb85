"""Tables of examples: what is read, and what is refused with its file, its line and what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from autobert_zero.data.tables import Example, Examples, read_csv, read_json_lines, read_tsv
from autobert_zero.errors import UserError

READERS: dict[str, Callable[..., Examples]] = {"csv": read_csv, "tsv": read_tsv, "jsonl": read_json_lines}


def read(path: Path, content: bytes) -> list[tuple[int, Example]]:
    path.write_bytes(content)
    return list(READERS[path.suffix[1:]](path))


@pytest.mark.parametrize(
    ("name", "content", "examples"),
    [
        ("a.csv", b'a,b\n"x\ny",1\nz,2\n', [(2, {"a": "x\ny", "b": "1"}), (4, {"a": "z", "b": "2"})]),
        ("a.csv", b'a,b\r\n"x\r\ny",1\r\nz,2', [(2, {"a": "x\ny", "b": "1"}), (4, {"a": "z", "b": "2"})]),
        ("a.csv", b"a,b\rx,1\ry,2\r", [(2, {"a": "x", "b": "1"}), (3, {"a": "y", "b": "2"})]),
        ("a.csv", b'\xef\xbb\xbfa,b\n"say ""x"", y",1\n', [(2, {"a": 'say "x", y', "b": "1"})]),
        ("a.csv", b'\xef\xbb\xbf"a",b\nx,1\n', [(2, {"a": "x", "b": "1"})]),
        ("a.csv", b"a,b\n\nx,1\n\n\n", [(3, {"a": "x", "b": "1"})]),
        ("a.csv", b"a,b\nx,1,\ny,2,,\n", [(2, {"a": "x", "b": "1"}), (3, {"a": "y", "b": "2"})]),
        ("a.csv", b',a\n0,5" nail\n', [(2, {"": "0", "a": '5" nail'})]),
        ("a.csv", b"a;b\nx, y;1,5\n", [(2, {"a": "x, y", "b": "1,5"})]),
        ("a.csv", b"\na|b\nx;y|1\n", [(3, {"a": "x;y", "b": "1"})]),
        ("a.csv", b'a\tb\n"x\ty"\t1\n', [(2, {"a": "x\ty", "b": "1"})]),
        ("a.csv", b'"a;b;c",d\nx,1\n', [(2, {"a;b;c": "x", "d": "1"})]),
        ("a.csv", b"a\nx\n", [(2, {"a": "x"})]),
        ("a.tsv", b'a\tb\n"x\t1\n', [(2, {"a": '"x', "b": "1"})]),
        ("a.tsv", b"\xef\xbb\xbfa\tb\nx, y\t1\n", [(2, {"a": "x, y", "b": "1"})]),
        ("a.jsonl", b'\xef\xbb\xbf{"a": "x"}\r\n\r\n{"a": 1}', [(1, {"a": "x"}), (3, {"a": 1})]),
        ("a.jsonl", '{"a": "x\u2028y"}'.encode(), [(1, {"a": "x\u2028y"})]),
        ("a.csv", b"", []),
        ("a.csv", b"a,b\n", []),
        ("a.tsv", b"\n\n", []),
        ("a.jsonl", b"\xef\xbb\xbf", []),
    ],
)
def test_good_tables(tmp_path: Path, name: str, content: bytes, examples: list[tuple[int, Example]]) -> None:
    assert read(tmp_path / name, content) == examples


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\nx,1\ny\n", "line 3: 1 column, not 2; quote the text"),
        ("a.csv", b"a,b\nx,y,1\n", "line 2: 3 columns, not 2; quote the text"),
        ("a.csv", b'a,b\n"x\ny",1\nz,2,3\n', "line 4: 3 columns, not 2"),
        ("a.tsv", b"a\tb\nx\ty\t1\n", "line 2: 3 columns, not 2; cells with tabs or line breaks need a .csv"),
        ("a.tsv", b'a\tb\n"x\ny"\t1\n', "line 2: 1 column, not 2; cells with tabs or line breaks"),
        ("a.csv", b"a,b,a\nx,1,2\n", "has two columns 'a'"),
        ("a.csv", b'a,b\n"x" y,1\n', "line 2: ',' expected after '\"'; is a quote left open, or not doubled"),
        ("a.csv", b'a,b\nx,1\n"y,2\n', "line 3: unexpected end of data"),
        (
            "a.csv",
            b"a,b\n" + b"x,1\n" * 3000 + b"gr\xfcn,1\n",
            r"is not UTF-8 text; .*iconv .*\(line 3,002, byte 12,006: 0xfc",
        ),
        ("a.tsv", b"a\tb\ngr\xfcn\t1\n", r"is not UTF-8 text; .*\(line 2, byte"),
        ("a.jsonl", b'{"a": "\xff"}\n', r"is not UTF-8 text; .*\(line 1, byte 7"),
        (
            "a.csv",
            "a,b\nx,1\n".encode("utf-16"),
            "not text in UTF-8: it is UTF-16; convert it: iconv -f UTF-16 -t UTF-8",
        ),
        ("a.csv", "a,b\nx,1\n".encode("utf-16-be"), "it is UTF-16BE; convert it"),
        ("a.jsonl", b"\x1f\x8b\x08\x00", "it is a gzip file"),
        ("a.csv", b"a,b\nx,1\ny\0,2\n", r"is binary, not text \(line 3, byte 9 is zero\)"),
        ("a.csv", "a,b\ngrün,1\n".encode("cp1252"), r"is not UTF-8 text; .*\(line 2, byte"),
    ],
)
def test_bad_tables(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / name, content)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(UserError, match=r"a\.csv cannot be read: Is a directory"):
        list(read_csv(tmp_path / "a.csv"))


@pytest.mark.parametrize("kind", READERS)
def test_no_lines_are_not_those_of_a_file(kind: str, tmp_path: Path) -> None:
    missing = tmp_path / f"missing.{kind}"
    assert list(READERS[kind](missing, lines=[])) == []
