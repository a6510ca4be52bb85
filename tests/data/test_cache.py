"""What is cached is found again by the same text and the same code only."""

from pathlib import Path

import pytest
import tokenizers

from autobert_zero.data.cache import cache_path, code_version


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
