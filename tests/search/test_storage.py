"""Histories on a server, and studies that belong to another search."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

from autobert_zero.search.history import History, HistoryError


def essence(history: History) -> list[Any]:
    return [(t.proposal, t.outcome.score, t.outcome.status, dict(t.rescored)) for t in history.load()]


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'team.db'}"


def test_two_searches_in_one_storage(finished_run: Path, settings_file: Path, tmp_path: Path) -> None:
    given = ("search", "--config", settings_file, "--storage", url(tmp_path))
    for name, seed in (("one", 0), ("other", 1)):
        done = tiny.command(*given, "--out", tmp_path / name, "--set", f"study={name}", "--seed", seed)
        assert done.code == 0, done.err
        assert not (tmp_path / name / "study.db").exists()
    one, other = (History(url(tmp_path), name) for name in ("one", "other"))
    assert essence(one) == essence(History(f"sqlite:///{finished_run / 'study.db'}"))
    assert essence(other) != essence(one)


def test_a_study_of_another_search_is_refused(settings_file: Path, tmp_path: Path) -> None:
    given = ("search", "--config", settings_file, "--storage", url(tmp_path), "--set", "final.finalists=1")
    assert tiny.command(*given, "--out", tmp_path / "one").code == 0
    before = essence(History(url(tmp_path)))
    changed = ("--seed", 1, "--set", "model.width=32", "--set", "space.max_ops=4")
    done = tiny.command(*given, *changed, "--out", tmp_path / "other")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "is of a search with another model.width, seed, space.max_ops; choose another name" in done.err
    same = tiny.command(*given, "--out", tmp_path / "third")
    assert (same.code, same.err.count("\n")) == (2, 1)
    assert "resume the run in its own folder" in same.err
    assert essence(History(url(tmp_path))) == before


def test_a_storage_that_cannot_be_reached(settings_file: Path, tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}"
    done = tiny.command("search", "--config", settings_file, "--storage", place, "--out", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot be reached or read" in done.err


def test_a_password_is_not_shown() -> None:
    with pytest.raises(HistoryError) as caught:
        History("nonsense+driver://somebody:secret@host:1/team")
    assert "secret" not in str(caught.value)
    assert "somebody:***@host:1/team" in str(caught.value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of this test alone."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb") or (folders and folders[-1] / "initdb")
    if not found:
        pytest.skip("PostgreSQL is not installed")
    programs, port = Path(found).parent, free_port()
    folder = Path("/tmp") / f"autobert-zero-postgres-{port}"
    folder.mkdir()
    user = ["runuser", "-u", "postgres", "--"] if Path("/root").owner() == "root" and _is_root() else []
    if user:
        shutil.chown(folder, "postgres")
    try:
        data = str(folder / "data")
        made = [*user, str(programs / "initdb"), "-D", data, "-U", "team", "--auth=trust"]
        subprocess.run(made, check=True, capture_output=True)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        begin = [*user, str(programs / "pg_ctl"), "-D", data, "-o", options, "-l", f"{folder}/log", "-w"]
        subprocess.run([*begin, "start"], check=True, capture_output=True)
        try:
            yield f"postgresql+psycopg2://team@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*begin, "stop", "-m", "fast"], check=True, capture_output=True)
    finally:
        shutil.rmtree(folder)


def _is_root() -> bool:
    import os

    return os.geteuid() == 0


@pytest.mark.slow
def test_a_real_server(server: str, finished_run: Path, settings_file: Path, tmp_path: Path) -> None:
    """A search that is stopped and resumed, with its history in PostgreSQL."""
    from autobert_zero.search.evaluate import ProxyEvaluator

    out, given = tmp_path / "run", ("--storage", server, "--set", "study=team-1")
    real, calls = ProxyEvaluator.evaluate, iter(range(99))

    def stopping(*rest: Any) -> Any:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return real(*rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProxyEvaluator, "evaluate", stopping)
        assert tiny.command("search", "--config", settings_file, *given, "--out", out).code == 130
    assert len(History(server, "team-1")) == 5
    assert tiny.command("search", "--out", out, "--resume").code == 0
    wanted = essence(History(f"sqlite:///{finished_run / 'study.db'}"))
    assert essence(History(server, "team-1")) == wanted


@pytest.mark.slow
def test_a_server_that_is_down(settings_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    place = f"postgresql+psycopg2://team:secret@127.0.0.1:{free_port()}/postgres"
    done = tiny.command("search", "--config", settings_file, "--storage", place, "--out", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot be reached or read" in done.err
    assert "secret" not in done.err
