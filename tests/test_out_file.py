"""The file of `--out` is checked before any work is done."""

import os
from pathlib import Path

import pytest

from autobert_zero.errors import UserError
from autobert_zero.out_file import check_new_file, check_out, replacing, resolve_link


def test_new_and_old_files_are_accepted_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    (tmp_path / "data.csv").write_text("a")
    for name in ("old.json", "new.json", "new/folder/new.json"):
        check_out(tmp_path / name, [tmp_path / "data.csv", tmp_path / "none"], tmp_path / "none")
    check_out(Path("-"), [Path("-")], Path("owner/name"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "old.json"]
    assert (tmp_path / "old.json").read_text() == "old"


def test_inputs_are_found_under_other_names(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a")
    (tmp_path / "link.csv").symlink_to(tmp_path / "data" / "a.csv")
    (tmp_path / "folder").symlink_to(tmp_path / "data")
    with pytest.raises(UserError, match="is also an input"):
        check_out(tmp_path / "link.csv", [tmp_path / "data" / "a.csv"], tmp_path / "none")
    with pytest.raises(UserError, match=r"is in .*data, a folder of inputs"):
        check_out(tmp_path / "folder" / "new.json", [tmp_path / "data"], tmp_path / "none")


def test_only_the_allowed_file_of_a_model_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    for name in ("config.json", "results.json", "1_Pooling/config.json"):
        (tmp_path / name).write_text("{}")
    check_out(tmp_path / "results.json", [], tmp_path, allowed="results.json")
    check_out(tmp_path / "new.json", [], tmp_path)
    for name in ("config.json", "1_Pooling/config.json"):
        with pytest.raises(UserError, match="is a file in the folder of the model"):
            check_out(tmp_path / name, [], tmp_path, allowed="results.json")
    with pytest.raises(UserError, match="is a file in the folder of the model"):
        check_out(tmp_path / "results.json", [], tmp_path)


def test_folders_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    for path in ("file/x.json", "file/new/x.json"):
        with pytest.raises(UserError, match=f"^{path} cannot be written: file is a file, not a folder$"):
            check_new_file(Path(path))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can write")
def test_folders_that_take_no_files() -> None:
    with pytest.raises(UserError, match=r"^/proc/x\.json cannot be written: "):
        check_new_file(Path("/proc/x.json"))


def test_devices_and_pipes_are_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link", Path(os.devnull)):
        with pytest.raises(UserError, match=r"is not a regular file; .*- for standard output$"):
            check_out(path, [], tmp_path / "none")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to("old.txt")

    def fail() -> None:
        with replacing(link) as new:
            new.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert link.read_text() == "old"
    for path in (link, tmp_path / "made" / "new.txt"):
        with replacing(path) as new:
            new.write_text("new")
        assert path.read_text() == "new"
    assert link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"old.txt", "link.txt", "made"}


def test_a_device_is_written_itself() -> None:
    with replacing(Path(os.devnull)) as device:
        assert device == Path(os.devnull)


def test_a_file_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"x\.txt cannot be written: .*file is a file, not a folder$"),
        replacing(tmp_path / "file" / "x.txt"),
    ):
        pass


def test_the_target_of_a_link_counts_too(tmp_path: Path) -> None:
    for name in ("model", "data", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    out = tmp_path / "out.json"
    out.symlink_to(tmp_path / "model" / "config.json")
    with pytest.raises(UserError, match="is a file in the folder of the model"):
        check_out(out, [], tmp_path / "model")
    out.unlink()
    out.symlink_to(tmp_path / "data" / "new.json")
    with pytest.raises(UserError, match=r"is in .*data, a folder of inputs"):
        check_out(out, [tmp_path / "data"], tmp_path / "none")
    out.unlink()
    out.symlink_to(tmp_path / "other" / "new.json")
    check_out(out, [tmp_path / "data"], tmp_path / "model")
    assert resolve_link(out) == (tmp_path / "other" / "new.json").resolve()
