"""Benchmarks are scripts beside each other, not a package."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def benchmarks_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets tests import what the benchmarks import from each other."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
