"""Files are written whole, by names of their own, with the rights that the umask gives."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from autobert_zero import cli
from autobert_zero.errors import UserError
from autobert_zero.files import (
    follow_umask,
    no_room,
    read_dataclass,
    remove_partial,
    write_text,
    written_whole,
)


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_text(path, "one")

    def fail() -> None:
        with written_whole(path) as partial:
            partial.write_text("tw")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "one"
    write_text(path, "three")
    assert path.read_text() == "three"
    assert [each.name for each in path.parent.iterdir()] == ["file.txt"]


@dataclass(frozen=True)
class Measured:
    name: str
    losses: dict[str, float]
    seconds: float | None = None


def test_a_dataclass_is_read_with_its_types(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"name": "a", "losses": {"test": 1}}')
    assert read_dataclass(Measured, path, "delete it") == Measured("a", {"test": 1.0})
    for damage, reason in (
        (b"", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b"[1]", "Input should be an object"),
        (b'{"losses": {}}', "name: "),
        (b'{"name": null, "losses": {}}', "name: "),
        (b'{"name": "a", "losses": {"test": null}}', "losses.test: "),
        (b'{"name": "a", "losses": {"test": "1"}}', "losses.test: "),
        (b'{"name": "a", "losses": {}, "seconds": true}', "seconds: "),
    ):
        path.write_bytes(damage)
        with pytest.raises(UserError) as error:
            read_dataclass(Measured, path, "delete it")
        assert str(error.value).startswith(f"{path} is damaged ({reason}")
        assert str(error.value).endswith("); delete it")
        assert "\n" not in str(error.value)


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """Processes in two containers may have the same number."""
    path = tmp_path / "file.txt"
    with written_whole(path) as one:
        with written_whole(path) as other:
            one.write_text("first")
            other.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"


def test_files_follow_the_umask(tmp_path: Path, umask: int) -> None:
    with written_whole(tmp_path / "model.safetensors") as partial:
        save_file({"weight": torch.zeros(3)}, partial)
    write_text(tmp_path / "secret.yaml", "password", mode=0o600)
    assert rights(tmp_path / "model.safetensors") == 0o666 & ~umask
    assert rights(tmp_path / "secret.yaml") == 0o600


def test_files_of_libraries_follow_the_umask(tmp_path: Path, umask: int) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    (tmp_path / "folder").mkdir()
    follow_umask(tmp_path)
    assert rights(tmp_path / "model.safetensors") == 0o666 & ~umask
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "folder"}


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EFBIG, "File too large"), True),  # `ulimit -f`
        (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), True),
        (sqlite3.OperationalError("database or disk is full"), True),
        (sqlite3.OperationalError("disk I/O error"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("the line is too large"), False),
    ],
)
def test_no_room_for_a_file(
    error: Exception, full: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    assert no_room(error) is full
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == (2 if full else 1)
    assert ("make room, then go on where it stopped" in capsys.readouterr().err) is full


def test_a_file_without_room_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"

    def fail() -> None:
        with written_whole(path):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space") as caught:
        fail()
    assert caught.value.filename == str(path)


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "00000007.partial").mkdir(parents=True)
    (tmp_path / "checkpoints" / "00000007.partial" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "bank.12.partial").write_bytes(b"half")
    (tmp_path / "partial").write_bytes(b"whole")
    remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["checkpoints", "partial"]
