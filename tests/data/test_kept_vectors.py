"""Vectors kept on disk: found again, bounded, whole or ignored."""

import logging
import os
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from autobert_zero.data.cache import CacheError, cache_entries, cache_path
from autobert_zero.data.kept_vectors import KeptVectors

KEYS = [bytes([number]) * 16 for number in range(4)]


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOBERT_ZERO_CACHE", str(tmp_path))


def kept(recipe: str = "teacher", limit: int = 10**6, processes: int = 1) -> KeptVectors:
    return KeptVectors(cache_path(recipe, ""), 3, limit, processes)


def test_a_later_process_has_what_earlier_ones_added() -> None:
    for key, count in zip(KEYS, (1, 0, 5), strict=False):  # each in a file of its own
        own = kept()
        own.add(key, vectors(count))
        np.testing.assert_array_equal(own.get(key), vectors(count))
    later = kept()
    assert len(later) == 3
    assert later.get(KEYS[3]) is None
    for key, count in zip(KEYS, (1, 0, 5), strict=False):
        np.testing.assert_array_equal(later.get(key), vectors(count))
    assert len(kept("another teacher")) == 0
    assert [entry.kind for entry in cache_entries()] == ["embeddings"] * 3


def test_all_files_together_stay_below_the_limit() -> None:
    group = 20 + 4 * 3 * 2
    first = kept(limit=2 * group)
    first.add(KEYS[0], vectors(2))
    second = kept("another teacher", limit=2 * group)
    for key in KEYS:
        second.add(key, vectors(2))
    assert [key in second._places for key in KEYS] == [True, False, False, False]
    assert sum(entry.size for entry in cache_entries()) == 2 * group
    assert kept(limit=6 * group, processes=2).room == 2 * group


@pytest.mark.parametrize("lost", [1, 24, 25, 43, 44])
def test_what_a_killed_process_wrote_in_part_is_ignored(lost: int) -> None:
    own = kept()
    own.add(KEYS[0], vectors(2))
    own.add(KEYS[1], vectors(2))
    (entry,) = cache_entries()
    with entry.path.open("r+b") as file:
        file.truncate(entry.size - lost)
    later = kept()
    np.testing.assert_array_equal(later.get(KEYS[0]), vectors(2))
    assert later.get(KEYS[1]) is None


def fill_disk(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Lets a write take so many bytes only."""
    write = FileIO.write

    class Full(FileIO):
        def write(self, content: bytes) -> int:  # type: ignore[override]
            return write(self, content[:room])

    monkeypatch.setattr("autobert_zero.data.kept_vectors.FileIO", Full)


@pytest.mark.parametrize("room", [0, 5, 40])
def test_a_full_disk_ends_the_keeping_with_one_warning(
    room: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = kept()
    own.add(KEYS[0], vectors(2))
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        fill_disk(patched, room)
        for key in KEYS[1:]:
            own.add(key, vectors(2))
    own.add(KEYS[3], vectors(2))  # room again would be behind an incomplete group
    assert [record.message.split(":")[0].split(" in ")[0] for record in caplog.records] == [
        "nothing more is kept"
    ]
    assert "the disk is full" in caplog.text
    for store in (own, kept()):
        np.testing.assert_array_equal(store.get(KEYS[0]), vectors(2))
        assert [store.get(key) for key in KEYS[1:]] == [None] * 3


def test_a_cache_that_cannot_be_written_ends_the_keeping(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = kept()
    tmp_path.rmdir()
    tmp_path.write_text("a file")
    own.add(KEYS[0], vectors(2))
    assert own.get(KEYS[0]) is None
    assert len(caplog.records) == 1
    tmp_path.unlink()


def test_what_is_deleted_or_replaced_meanwhile_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    first = kept()
    for key in KEYS[:3]:
        first.add(key, vectors(2))
    later = kept()
    (entry,) = cache_entries()
    content = entry.path.read_bytes()
    entry.path.write_bytes(content[44:] + content[:44])  # other groups at the same places
    assert later.get(KEYS[0]) is None
    assert not caplog.records
    again = kept()
    np.testing.assert_array_equal(again.get(KEYS[0]), vectors(2))
    entry.path.unlink()
    assert [again.get(key) for key in KEYS] == [None] * 4
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    again.add(KEYS[3], vectors(2))
    np.testing.assert_array_equal(again.get(KEYS[3]), vectors(2))


def test_files_that_may_not_be_read_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    kept().add(KEYS[0], vectors(2))

    def refused(path: Path) -> FileIO:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("autobert_zero.data.kept_vectors.FileIO", refused)
    with pytest.raises(CacheError, match="cannot be used: Permission denied"):
        kept()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list open files")
def test_no_file_stays_open() -> None:
    own = kept()
    own.add(KEYS[0], vectors(2))
    later = kept()
    assert later.get(KEYS[0]) is not None
    opened = {os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}
    assert str(cache_entries()[0].path) not in opened
