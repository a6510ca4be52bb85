"""`~` in a path that a shell did not expand: `--out=~/run`, a config, an argument of a function."""

from pathlib import Path

import pytest
import tiny

import autobert_zero
from autobert_zero.errors import UserError
from autobert_zero.search.config import SearchConfig
from autobert_zero.settings import resolve
from autobert_zero.sources import expanded, in_home


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, while the current folder is another one."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_of_a_source_and_of_a_path(home: Path) -> None:
    (home / "a.txt").touch()
    assert in_home("~/a.txt") == str(home / "a.txt")
    assert [in_home(name) for name in ("~/none", "~nobody-here/a", "bert", "a~b")] == [
        *("~/none", "~nobody-here/a", "bert", "a~b")
    ]
    assert expanded("~/new") == home / "new"
    with pytest.raises(UserError, match="~nobody-here/a is in a home folder that is not known"):
        expanded(Path("~nobody-here/a"))


def test_of_an_option_that_is_a_file(home: Path) -> None:
    assert tiny.command("draw", "Q + K", "--out=~/picture.svg").code == 0
    assert (home / "picture.svg").exists()
    (home / "mine.yaml").write_text("seed: 3\nproxy: {steps: 2}\n")
    assert tiny.command("config", "--check=~/mine.yaml").code == 0
    assert "seed: 3\n" in tiny.command("config", "search", "--config=~/mine.yaml").out
    assert list(Path().iterdir()) == []


def test_of_an_argument_that_is_a_folder(home: Path) -> None:
    """The message names the folder that was looked at."""
    (home / "empty").mkdir()
    for arguments in (("report", "~/empty"), ("search", "--resume", "--out=~/empty")):
        assert str(home / "empty") in tiny.command(*arguments).err


def test_of_a_task(home: Path) -> None:
    pytest.importorskip("transformers")
    (home / "task.yaml").write_text("kind: nothing\n")
    done = tiny.command("finetune", "--model=bert", "--task=~/task.yaml", "--out=~/results")
    assert done.err.startswith(f"error: {home / 'task.yaml'}: kind must be one of")
    assert list(Path().iterdir()) == []


def test_of_a_setting(home: Path) -> None:
    (home / "text").mkdir()
    data = {"corpus": ["~/text", "kjv", "~/none"], "tokenizer": "~/text"}
    config = resolve(SearchConfig(), {"data": data})
    assert config.data.corpus == (str(home / "text"), "kjv", "~/none")
    assert config.data.tokenizer == str(home / "text")


def test_of_an_argument_of_a_function(home: Path) -> None:
    autobert_zero.draw("Q + K", "~/picture.svg")
    assert (home / "picture.svg").exists()
    (home / "run").mkdir()
    with pytest.raises(UserError, match=str(home / "run")):
        autobert_zero.search("~/run", resume=True)
