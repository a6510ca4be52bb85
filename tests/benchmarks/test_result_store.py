"""Results of a long benchmark are kept one by one, and never mixed with those of other settings."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from filelock import FileLock

from autobert_zero.errors import UserError

SETTINGS = {"corpus": "kjv", "steps": 200}


def load() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "result_store.py"
    spec = importlib.util.spec_from_file_location("result_store", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ResultStore = load().ResultStore


def test_a_later_run_with_the_same_settings_has_the_results(tmp_path: Path) -> None:
    first = ResultStore(tmp_path / "out", SETTINGS)
    first["rotary-seed0"] = {"val_loss": 4.33}

    later = ResultStore(tmp_path / "out", dict(SETTINGS))

    assert "rotary-seed0" in later
    assert "rotary-seed1" not in later
    assert later["rotary-seed0"] == {"val_loss": 4.33}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"corpus": "books", "steps": 200}, "corpus kjv, not books"),
        ({"corpus": "kjv", "steps": 2000}, "steps 200, not 2000"),
        ({"corpus": "kjv"}, "steps 200, not None"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, other: dict[str, object], words: str) -> None:
    ResultStore(tmp_path, SETTINGS)

    with pytest.raises(UserError, match=words):
        ResultStore(tmp_path, other)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match="holds other files"):
        ResultStore(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("damaged", ['{"val_loss": 4.', "[]", "[1]", "4.2", ""])
def test_a_damaged_result_is_named(damaged: str, tmp_path: Path) -> None:
    store = ResultStore(tmp_path, SETTINGS)
    (tmp_path / "bert-seed0.json").write_text(damaged)

    with pytest.raises(UserError, match=r"bert-seed0.json is damaged \(.*\); delete it to measure it again"):
        store["bert-seed0"]
    assert store.get("bert-seed0") is None


@pytest.mark.parametrize("damaged", ['{"bench', "[]"])
def test_damaged_settings_do_not_cost_the_results(damaged: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(damaged)
    with pytest.raises(
        UserError, match=r"settings.json is damaged .*put its text back, or choose another --out"
    ):
        ResultStore(tmp_path, SETTINGS)


def test_half_a_result_is_as_good_as_none(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, SETTINGS)
    store["whole"] = {"val_loss": 4.0}
    (tmp_path / "half.json").write_text('{"val_loss": 4.')

    assert store.get("whole") == {"val_loss": 4.0}
    assert store.get("half") is None
    assert store.get("none") is None


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path) -> None:
    ResultStore(tmp_path, SETTINGS)
    other = FileLock(tmp_path / ".lock", timeout=0)

    with other, pytest.raises(UserError, match="another process is writing into"):
        ResultStore(tmp_path, SETTINGS)
