"""Vectors kept on disk: found again, bounded, whole or ignored."""

from pathlib import Path

import numpy as np
import pytest

from autobert_zero.data.cache import cache_entries, cache_path
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
