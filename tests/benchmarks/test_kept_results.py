"""Results of a long benchmark are kept one by one, and never mixed with those of other settings."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from filelock import FileLock

from autobert_zero.errors import UserError

SETTINGS = {"corpus": "kjv", "steps": 200}


def load() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "kept.py"
    spec = importlib.util.spec_from_file_location("kept", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Kept = load().Kept


def test_a_later_run_with_the_same_settings_has_the_results(tmp_path: Path) -> None:
    first = Kept(tmp_path / "out", SETTINGS)
    first["rotary-seed0"] = {"val_loss": 4.33}

    later = Kept(tmp_path / "out", dict(SETTINGS))

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
    Kept(tmp_path, SETTINGS)

    with pytest.raises(UserError, match=words):
        Kept(tmp_path, other)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match="holds other files"):
        Kept(tmp_path, SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("damaged", ['{"val_loss": 4.', "[]", "[1]", "4.2", ""])
def test_a_damaged_result_is_named(damaged: str, tmp_path: Path) -> None:
    kept = Kept(tmp_path, SETTINGS)
    (tmp_path / "bert-seed0.json").write_text(damaged)

    with pytest.raises(UserError, match=r"bert-seed0.json is damaged \(.*\); delete it to measure it again"):
        kept["bert-seed0"]
    assert kept.find("bert-seed0") is None


@pytest.mark.parametrize("damaged", ['{"bench', "[]"])
def test_damaged_settings_do_not_cost_the_results(damaged: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(damaged)
    with pytest.raises(
        UserError, match=r"settings.json is damaged .*put its text back, or choose another --out"
    ):
        Kept(tmp_path, SETTINGS)


def test_half_a_result_is_as_good_as_none(tmp_path: Path) -> None:
    kept = Kept(tmp_path, SETTINGS)
    kept["whole"] = {"val_loss": 4.0}
    (tmp_path / "half.json").write_text('{"val_loss": 4.')

    assert kept.find("whole") == {"val_loss": 4.0}
    assert kept.find("half") is None
    assert kept.find("none") is None


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path) -> None:
    Kept(tmp_path, SETTINGS)
    other = FileLock(tmp_path / ".lock", timeout=0)

    with other, pytest.raises(UserError, match="another process is writing into"):
        Kept(tmp_path, SETTINGS)
