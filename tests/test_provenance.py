"""A run says which code made it."""

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import autobert_zero
from autobert_zero.provenance import provenance, versions


def test_the_version_is_the_packages() -> None:
    assert autobert_zero.__version__ == metadata.version("autobert-zero")
    assert versions()["autobert-zero"] == autobert_zero.__version__
    assert {"python", "torch", "numpy", "tokenizers", "optuna"} <= versions().keys()


def test_the_command_is_kept_without_its_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = "postgresql://me:se/cret@host/db"
    monkeypatch.setattr(sys, "argv", ["autobert-zero", "search", "--out", "a b", "--storage", storage])
    assert provenance()["command"] == (
        "autobert-zero search --out 'a b' --storage 'postgresql://me:***@host/db'"
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the files that tell the commit."""
    package = tmp_path / "src" / "autobert_zero"
    package.mkdir(parents=True)
    for name in ("__init__.py", "provenance.py", "urls.py"):
        shutil.copy(Path(autobert_zero.__file__).parent / name, package)
    git(tmp_path, "init", "-q")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *author, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit_known_in(folder: Path) -> str:
    program = "from autobert_zero.provenance import commit; print(commit())"
    environment = {"PYTHONPATH": str(folder / "src"), "PATH": "/usr/bin:/bin:/usr/local/bin"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def test_the_commit_of_a_checkout(checkout: Path) -> None:
    git(checkout, "add", "src")
    git(checkout, "commit", "-q", "-m", "one")
    head = git(checkout, "rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", head)
    assert commit_known_in(checkout) == head
    (checkout / "src" / "autobert_zero" / "urls.py").open("a").write("# changed\n")
    assert commit_known_in(checkout) == f"{head}-dirty"


def test_a_repository_around_the_package_is_not_its_own(checkout: Path) -> None:
    (checkout / "notes.txt").write_text("mine")
    git(checkout, "add", "notes.txt")
    git(checkout, "commit", "-q", "-m", "one")
    assert git(checkout, "rev-parse", "HEAD") not in commit_known_in(checkout)
