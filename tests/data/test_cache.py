"""What is cached is found again by the same text and the same code only, and a bad cache is one line."""

import os
from pathlib import Path

import pytest
import tiny
import tokenizers

from autobert_zero.data.cache import (
    CacheError,
    cache_entries,
    cache_folder,
    cache_path,
    check_writable,
    code_version,
    read_cached,
    write_cached,
)


def test_other_code_has_other_files(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("a = 1\n")
    other.write_text("a = 2\n")
    path = cache_path("recipe", ".npy", str(one))
    assert path == cache_path("recipe", ".npy", str(one))
    assert path.parent == cache
    assert path not in (
        cache_path("another", ".npy", str(one)),
        cache_path("recipe", ".npy", str(other)),
        cache_path("recipe", ".npy", str(one), str(other)),
    )
    monkeypatch.setattr(tokenizers, "__version__", "0.0.1")
    code_version.cache_clear()
    assert cache_path("recipe", ".npy", str(one)) != path
    code_version.cache_clear()


@pytest.mark.parametrize("value", [None, ""])
def test_where_it_is(value: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if value is None:
        monkeypatch.delenv("AUTOBERT_ZERO_CACHE")
    else:
        monkeypatch.setenv("AUTOBERT_ZERO_CACHE", value)
    assert cache_folder() == tmp_path / ".cache" / "autobert-zero"
    monkeypatch.setenv("AUTOBERT_ZERO_CACHE", "~/other")
    assert cache_folder() == tmp_path / "other"


def test_no_home_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("AUTOBERT_ZERO_CACHE")
    monkeypatch.setattr(Path, "expanduser", nobody)
    with pytest.raises(CacheError, match="no home folder for the cache; set AUTOBERT_ZERO_CACHE"):
        cache_folder()


def write(path: Path, error: OSError | None = None) -> None:
    with write_cached(path) as partial:
        partial.write_text("half")
        if error is not None:
            raise error


def test_a_file_in_the_place_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    for name in ("file", "file/inside"):
        monkeypatch.setenv("AUTOBERT_ZERO_CACHE", str(tmp_path / name))
        with pytest.raises(CacheError, match="file is a file; set AUTOBERT_ZERO_CACHE to a folder"):
            check_writable()
        with pytest.raises(CacheError, match="set AUTOBERT_ZERO_CACHE to another folder"):
            write(tmp_path / name / "a.npy")
        assert read_cached(tmp_path / name / "a.npy", Path.read_text) is None
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOBERT_ZERO_CACHE", str(tmp_path / "deep" / "cache"))
    check_writable()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everything
    with pytest.raises(CacheError, match="may not be written; set AUTOBERT_ZERO_CACHE to a folder"):
        check_writable()


def test_a_full_disk(cache: Path) -> None:
    with pytest.raises(CacheError, match="500 requested and 0 written; make room or set AUTOBERT"):
        write(cache / "a.npy", OSError("500 requested and 0 written"))  # numpy says it so
    assert list(cache.iterdir()) == []


def test_what_is_damaged_is_made_again(cache: Path) -> None:
    def read(path: Path) -> str:
        text = path.read_text()
        if text != "whole":
            raise RuntimeError("damaged")
        return text

    path = cache / "a.npy"
    assert read_cached(path, read) is None
    for content, expected in (("", None), ("who", None), ("whole", "whole")):
        with write_cached(path) as partial:
            partial.write_text(content)
        assert read_cached(path, read) == expected


def test_the_command(cache: Path) -> None:
    assert tiny.command("cache").out == f"0 files, 0.0 MB in {cache}\n"
    cache.mkdir()
    a, b = "a" * 32, "b" * 32
    partial = f"{a}.npy.0123456789abcdef.partial"
    mine = {"mine.txt", "embeddings.npy", "my.tokenizer.json", "download.partial", f"{a}.npy.partial"}
    for name in (f"{a}.npy", f"{b}.tokenizer.json", partial, *mine):
        (cache / name).write_bytes(bytes(2_000_000))
    listed = tiny.command("cache").out
    assert listed.splitlines()[-1] == f"3 files, 6.0 MB in {cache}"
    for kind, name in (("sequences", f"{a}.npy"), ("tokenizer", b), ("unfinished", partial)):
        assert any(kind in line and name in line and "2.0 MB" in line for line in listed.splitlines())
    assert len(cache_entries()) == 3
    assert tiny.command("cache", "--clear").out == f"cleared: 3 files, 6.0 MB in {cache}\n"
    assert {path.name for path in cache.iterdir()} == mine
