"""Hypothesis profiles: steady, so that a red test stays red; HYPOTHESIS_PROFILE=explore looks further.

Caches are in a temporary folder and the Hub is out of reach: the tests need nothing and leave nothing.
"""

import importlib
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import tiny
from hypothesis import settings

# Before anything imports torch: tensors are tiny here, and threads that wait for each other cost
# a hundred times what they compute where tests run in parallel.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# Where the tests run in the background or under nohup, these signals are ignored from the start.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_CACHES = tempfile.TemporaryDirectory(prefix="autobert-zero-tests-")
# Before anything imports `datasets`, which reads them once.
os.environ["AUTOBERT_ZERO_CACHE"] = f"{_CACHES.name}/prepared"
os.environ["HF_HOME"] = f"{_CACHES.name}/hub"
os.environ["HF_DATASETS_CACHE"] = f"{_CACHES.name}/datasets"
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_unconfigure() -> None:
    _CACHES.cleanup()


@pytest.fixture
def shared_cache(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the whole session, in which the tiny corpus is prepared already."""
    monkeypatch.setenv("AUTOBERT_ZERO_CACHE", f"{_CACHES.name}/prepared")
    return Path(_CACHES.name)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for prepared data, of this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("AUTOBERT_ZERO_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with about 200 sequences of 16 tokens."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n".join(tiny.paragraphs(150)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def settings_file(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path) -> Path:
    """The tiny config as a YAML file."""
    path = tmp_path_factory.mktemp("settings") / "tiny.yaml"
    path.write_text(tiny.config(corpus_file).to_yaml(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, settings_file: Path) -> Path:
    """The folder of a whole run that nobody stopped; not to be changed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert tiny.command("search", "--config", settings_file, "--out", out).code == 0
    return out


@pytest.fixture
def no_room() -> Iterator[Callable[[int], None]]:
    """Limits the size of the files that this process writes, as `ulimit -f` does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def fake_accelerator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmarks' fake accelerator."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("fake_accelerator")
