"""Candidates trained together: the result is that of one worker, whoever trains them and whoever dies."""

import errno
import json
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.popen_spawn_posix import Popen
from pathlib import Path
from typing import Any

import pytest
import tiny

from autobert_zero.search.history import History
from autobert_zero.search.trial import Proposal, Status
from autobert_zero.search_runs import snapshots
from autobert_zero.search_runs.executors import InProcessExecutor, ProcessExecutor
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.snapshots import save_snapshot
from autobert_zero.space import Backbone

BACKBONES = ["conv 5\nsoftmax(scale(Q @ K.T)) @ V", "cosine(Q, K) @ P\nconv 31", "conv 3\nconv 7"]
PROPOSALS = [Proposal(number, Backbone.parse(text).canonical()) for number, text in enumerate(BACKBONES)]


def together(corpus: Path, count: int = 3, **proxy: Any) -> Any:
    config = tiny.config(corpus)
    return config.model_copy(update={"proxy": config.proxy.model_copy(update={"together": count, **proxy})})


def found(out: Path) -> tuple[Any, ...]:
    trials = History(f"sqlite:///{out / 'study.db'}").load()
    return (
        [(t.proposal, t.outcome.score, t.outcome.status, dict(t.rescored)) for t in trials],
        {path.name: path.read_bytes() for path in (out / "bank").iterdir()},
        (out / "best.txt").read_text(),
    )


@pytest.fixture(scope="module")
def one_worker(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    (folder / "config.yaml").write_text(together(corpus_file).to_yaml())
    done = tiny.command("search", "--config", folder / "config.yaml", "--out", folder / "run")
    assert done.code == 0, done.err
    return folder


def test_two_workers_find_what_one_finds(one_worker: Path, tmp_path: Path) -> None:
    config = one_worker / "config.yaml"
    done = tiny.command("search", "--config", config, "--out", tmp_path / "run", "--workers", 2)
    assert done.code == 0, done.err
    assert found(tmp_path / "run") == found(one_worker / "run")


def test_rounds_end_before_their_children_are_parents(one_worker: Path) -> None:
    """A population of 4 and rounds of 2 in batches of at most 3: 3, 1, 2, 2, 1."""
    trials = History(f"sqlite:///{one_worker / 'run' / 'study.db'}").load()
    assert [bool(trial.rescored) for trial in trials] == [n in (4, 6, 8) for n in range(9)]
    for trial in trials:
        if trial.proposal.parent is not None:
            assert trials[trial.proposal.parent].proposal.round < trial.proposal.round


@pytest.mark.slow
@pytest.mark.parametrize("place", ["save_file", "append"])
def test_a_kill_within_a_batch_changes_nothing(
    one_worker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    owner: Any = {"save_file": snapshots, "append": History}[place]
    real, calls = getattr(owner, place), iter(range(99))

    def stopping(*rest: Any) -> Any:
        if next(calls) == {"save_file": 2, "append": 5}[place]:
            raise KeyboardInterrupt
        return real(*rest)

    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, place, stopping)
        assert tiny.command("search", "--config", one_worker / "config.yaml", "--out", out).code == 130
    assert tiny.command("search", "--out", out, "--resume").code == 0
    assert found(out) == found(one_worker / "run")


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_snapshot_costs_its_candidates_only(one_worker: Path, tmp_path: Path, damaged: int) -> None:
    """Their training is done again; with both snapshots damaged there is nothing to go on from."""
    out = tmp_path / "run"
    config = one_worker / "config.yaml"
    with pytest.MonkeyPatch.context() as patch:
        real, calls = ProxyEvaluator.evaluate, iter(range(99))

        def stopping(*rest: Any) -> Any:
            if next(calls) == 7:
                raise KeyboardInterrupt
            return real(*rest)

        patch.setattr(ProxyEvaluator, "evaluate", stopping)
        assert tiny.command("search", "--config", config, "--out", out, "--workers", 1).code == 130
    for path in sorted((out / "bank").iterdir())[-damaged:]:
        path.write_bytes(path.read_bytes()[:1000])
    done = tiny.command("search", "--out", out, "--resume")
    if damaged == 2:
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "no whole snapshot" in done.err
        return
    assert done.code == 0, done.err
    assert "00000006.safetensors cannot be read" in done.log
    assert found(out) == found(one_worker / "run")


def outcomes(executor: Any, snapshot: Path) -> dict[int, Any]:
    run = executor.run(PROPOSALS, (), snapshot, lambda done, of, loss: None)
    return {place: (outcome.score, trained.updates) for place, (outcome, trained) in run}


@pytest.fixture
def prepared(corpus_file: Path) -> PreparedSearch:
    return prepare(together(corpus_file, steps=40))


def test_a_worker_that_dies_is_replaced(prepared: PreparedSearch, tmp_path: Path) -> None:
    evaluator = prepared.evaluator()
    save_snapshot(evaluator.bank, tmp_path, 0)
    snapshot = tmp_path / "00000000.safetensors"
    wanted = outcomes(InProcessExecutor(evaluator), snapshot)
    pool = ProcessExecutor(prepared.config, 2)
    killed = []

    def kill_one() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.01)
        os.kill(children[0].pid or 0, signal.SIGKILL)
        killed.append(children[0].pid)

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        assert outcomes(pool, snapshot) == wanted
    finally:
        thread.join()
        pool.close()
    assert len(killed) == 1


@pytest.mark.slow
def test_a_worker_that_dies_while_another_starts_is_replaced(
    prepared: PreparedSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = prepared.evaluator()
    save_snapshot(evaluator.bank, tmp_path, 0)
    snapshot = tmp_path / "00000000.safetensors"
    wanted = outcomes(InProcessExecutor(evaluator), snapshot)
    pool = ProcessExecutor(prepared.config, 2)
    launched = vars(Popen)["_launch"]
    started: list[Any] = []

    def launch(self: Popen, process: Any) -> None:
        started.append(process)
        if len(started) == 2:
            started[0].kill()
            time.sleep(0.1)  # for the pool to notice
        launched(self, process)

    monkeypatch.setattr(Popen, "_launch", launch)
    try:
        assert outcomes(pool, snapshot) == wanted
    finally:
        pool.close()
    assert len(started) == 3


def test_an_error_of_the_system_is_not_taken_for_a_death(
    prepared: PreparedSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*rest: Any) -> None:
        raise OSError(errno.EAGAIN, "no room for another process")

    monkeypatch.setattr(Popen, "_launch", no_room)
    pool = ProcessExecutor(prepared.config, 2)
    try:
        with pytest.raises(OSError, match="no room for another process"):
            outcomes(pool, tmp_path / "00000000.safetensors")
    finally:
        pool.close()


def die(report: Any) -> None:
    """What the system does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_candidate_that_kills_every_worker_fails_alone(
    prepared: PreparedSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = prepared.evaluator()
    save_snapshot(evaluator.bank, tmp_path, 0)
    pool = ProcessExecutor(prepared.config, 2)
    real = pool._pool._start

    def deadly(number: int, function: Any, arguments: tuple[Any, ...]) -> Any:
        """The second candidate takes its worker with it."""
        if arguments[3].number == 1:
            return real(number, die, ())
        return real(number, function, arguments)

    monkeypatch.setattr(pool._pool, "_start", deadly)
    try:
        run = pool.run(PROPOSALS, (), tmp_path / "00000000.safetensors", lambda *rest: None)
        done = {place: outcome for place, (outcome, _) in run}
    finally:
        pool.close()
    assert {place: outcome.status for place, outcome in done.items()} == {
        0: Status.COMPLETE,
        1: Status.FAILED,
        2: Status.COMPLETE,
    }
    assert "its worker died 2 times" in done[1].reason


def test_nothing_to_divide_is_said(settings_file: Path, tmp_path: Path) -> None:
    done = tiny.command("search", "--config", settings_file, "--out", tmp_path / "run", "--workers", 2)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "proxy.together is 1" in done.err
    assert not (tmp_path / "run").exists()


def test_twins_are_not_trained_twice(
    corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Softsign is odd: two formulas that the canonical form keeps apart compute the same."""
    first, twin = tmp_path / "first.txt", tmp_path / "twin.txt"
    first.write_text("softsign(-Q) + V\nconv 3\n")
    twin.write_text("-softsign(Q) + V\nconv 3\n")
    config = tmp_path / "config.yaml"
    config.write_text(tiny.config(corpus_file).to_yaml())
    out = tmp_path / "run"
    done = tiny.command(
        *("search", "--config", config, "--out", out, "--seed-backbone", first, "--seed-backbone", twin)
    )
    assert done.code == 0, done.err
    trials = History(f"sqlite:///{out / 'study.db'}").load()
    assert trials[0].proposal.backbone != trials[1].proposal.backbone
    assert (trials[1].outcome.same_as, trials[1].outcome.score) == (0, trials[0].outcome.score)
    assert trials[1].outcome.reason == "computes the same as trial 0"
    assert all(trial.outcome.same_as is None for trial in trials[2:])
    assert json.loads((out / "summary.json").read_text())["saved"]["twins"] == 1
