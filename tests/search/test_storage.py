"""Histories on a server, and studies that belong to another search."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError

from autobert_zero.errors import UserError
from autobert_zero.search.history import History
from autobert_zero.search.optuna_trials import HistoryError
from autobert_zero.search.storage import StorageError, cause_of
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone


def essence(history: History) -> list[Any]:
    return [(t.proposal, t.outcome.score, t.outcome.status, dict(t.rescored)) for t in history.load()]


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'team.db'}"


@pytest.mark.slow
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
    assert (
        "is of a search with another model.width (16 there, 32 here), seed (0 there, 1 here), space.max_ops "
        "(5 there, 4 here); choose another name with --set study=NAME\n"
    ) in done.err
    same = tiny.command(*given, "--out", tmp_path / "third")
    assert (same.code, same.err.count("\n")) == (2, 1)
    assert "resume the run in its own folder" in same.err
    assert essence(History(url(tmp_path))) == before


def test_a_storage_that_cannot_be_reached(settings_file: Path, tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}"
    done = tiny.command("search", "--config", settings_file, "--storage", place, "--out", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot be reached or read" in done.err


@pytest.mark.parametrize("place", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite://"])
def test_a_history_that_would_end_with_the_process_is_refused(
    place: str, settings_file: Path, tmp_path: Path
) -> None:
    done = tiny.command("search", "--config", settings_file, "--storage", place, "--out", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"the storage {place} is in memory" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "place",
    [
        "nonsense+driver://somebody:secret@host:1/team",
        "nonsense+driver://somebody:sec/ret:x@host:1/team",
        "nonsense+driver://host:1/team?password=secret",
        "redis://:secret@127.0.0.1:1/0",
    ],
)
def test_a_password_is_not_shown(place: str) -> None:
    with pytest.raises(HistoryError) as caught:
        History(place)
    assert "***" in str(caught.value)
    assert not [part for part in ("secret", "sec/ret", "ret:x") if part in str(caught.value)]


def test_a_drivers_error_does_not_show_the_password_either() -> None:
    url = "redis://me:secret@host:1/0"
    assert cause_of(ConnectionError(f"no answer of {url}: 'secret' was refused\nmore"), url) == (
        "no answer of redis://me:***@host:1/0: '***' was refused"
    )


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only the pauses between attempts move; their lengths."""
    waited: list[float] = []
    monkeypatch.setattr("autobert_zero.search.storage.time.sleep", waited.append)
    monkeypatch.setattr("autobert_zero.search.storage.time.monotonic", lambda: sum(waited))
    return waited


TRIAL = Trial(Proposal(0, Backbone.parse("conv 3").canonical()), Outcome(Status.COMPLETE, 1.0))
LOCKED = OperationalError("insert", {}, Exception("database is locked"))


def failing(history: History, times: int, *, after: bool = False) -> Callable[..., None]:
    """Recording that fails a few times, before or after the storage has taken the trial."""
    real, left = history._study.add_trial, [times]

    def add(trial: Any) -> None:
        if after:
            real(trial)
        left[0] -= 1
        if left[0] >= 0:
            raise StorageInternalError("an exception in the backend") from LOCKED
        if not after:
            real(trial)

    return add


@pytest.mark.parametrize("after", [False, True])
def test_a_storage_that_stops_is_waited_for(
    tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    said: list[str] = []
    history = History(tmp_path / "study.db", say=said.append)
    monkeypatch.setattr(history._study, "add_trial", failing(history, 1 if after else 3, after=after))
    history.append(TRIAL)
    assert pauses == ([1.0] if after else [1.0, 2.0, 4.0])
    assert [line.split("study.db ")[1] for line in said] == [
        "does not answer (an exception in the backend); trying again for 5 minutes",
        "answers again",
    ]
    assert History(tmp_path / "study.db").load() == [TRIAL]


def test_a_storage_that_does_not_come_back_ends_with_a_line(
    tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(tmp_path / "study.db")
    monkeypatch.setattr(history._study, "add_trial", failing(history, 10**6))
    with pytest.raises(UserError, match=r"has not answered for 5 minutes .*then continue with --resume"):
        history.append(TRIAL)
    assert 270 < sum(pauses) <= 300
    assert History(tmp_path / "study.db").load() == []


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OperationalError("insert", {}, Exception("database or disk is full")), StorageError),
        (OperationalError("insert", {}, Exception("disk I/O error")), StorageError),
        (ValueError("a bug"), ValueError),
    ],
)
def test_what_waiting_does_not_mend_is_not_waited_for(
    tmp_path: Path,
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    raised: type[Exception],
) -> None:
    def add(trial: Any) -> None:
        raise error

    history = History(tmp_path / "study.db")
    monkeypatch.setattr(history._study, "add_trial", add)
    with pytest.raises(raised):
        history.append(TRIAL)
    assert pauses == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(stoppable: tuple[str, Callable[[str], None]]) -> str:
    """A PostgreSQL server of this test alone."""
    return stoppable[0]


@pytest.fixture
def stoppable() -> Iterator[tuple[str, Callable[[str], None]]]:
    """A PostgreSQL server of this test alone, and what starts and stops it."""
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

        def control(command: str) -> None:
            mode = ["-m", "fast"] if command == "stop" else []
            subprocess.run(
                [*begin, command, *mode], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )

        control("start")
        try:
            yield f"postgresql+psycopg2://team@127.0.0.1:{port}/postgres", control
        finally:
            control("stop")
    finally:
        shutil.rmtree(folder)


def _is_root() -> bool:
    import os

    return os.geteuid() == 0


@pytest.mark.slow
def test_a_real_server(server: str, finished_run: Path, settings_file: Path, tmp_path: Path) -> None:
    """A search that is stopped and resumed, with its history in PostgreSQL."""
    from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator

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


@pytest.mark.slow
def test_a_server_that_is_restarted(
    stoppable: tuple[str, Callable[[str], None]], pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops between two candidates, and comes back at the third attempt."""
    server, control = stoppable
    history = History(server, "restart")
    history.append(TRIAL)
    control("stop")
    waited = pauses.append

    def sleep(seconds: float) -> None:
        waited(seconds)
        if len(pauses) == 3:
            control("start")

    monkeypatch.setattr("autobert_zero.search.storage.time.sleep", sleep)
    second = Trial(Proposal(1, Backbone.parse("conv 5").canonical()), Outcome(Status.COMPLETE, 2.0))
    history.append(second)
    assert History(server, "restart").load() == [TRIAL, second]
