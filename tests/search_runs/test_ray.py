"""A search whose candidates are tasks of a Ray cluster; slow, and only where Ray is installed."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import tiny

from autobert_zero.errors import UserError
from autobert_zero.search.history import History
from autobert_zero.search.trial import Proposal
from autobert_zero.search_runs.executors import InProcessExecutor
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.ray_executor import RayExecutor
from autobert_zero.search_runs.snapshots import save_snapshot
from autobert_zero.space import Backbone

pytestmark = pytest.mark.slow
BACKBONES = ["conv 5\nsoftmax(scale(Q @ K.T)) @ V", "cosine(Q, K) @ P\nconv 31", "conv 3\nconv 7"]


@pytest.fixture
def prepared(corpus_file: Path) -> PreparedSearch:
    config = tiny.config(corpus_file)
    return prepare(config.model_copy(update={"proxy": config.proxy.model_copy(update={"together": 3})}))


@pytest.fixture
def cluster(prepared: PreparedSearch) -> Iterator[RayExecutor]:
    pytest.importorskip("ray", reason="Ray is not installed")
    executor = RayExecutor(prepared.config, "local")
    yield executor
    executor.close()


def test_tasks_find_what_this_process_finds(
    prepared: PreparedSearch, cluster: RayExecutor, tmp_path: Path
) -> None:
    evaluator = prepared.evaluator()
    save_snapshot(evaluator.bank, tmp_path, 0)
    proposals = [Proposal(number, Backbone.parse(text).canonical()) for number, text in enumerate(BACKBONES)]

    def found(executor: Any) -> dict[int, Any]:
        run = executor.run(proposals, (), tmp_path / "00000000.safetensors", lambda *rest: None)
        return {
            place: (outcome.score, {name: tensor.sum().item() for name, tensor in trained.weights.items()})
            for place, (outcome, trained) in run
        }

    assert found(cluster) == found(InProcessExecutor(evaluator))


def test_a_cluster_that_cannot_be_reached(settings_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    out = tmp_path / "run"
    more = ("--set", "proxy.together=3", "--ray", "127.0.0.1:1")
    done = tiny.command("search", "--config", settings_file, "--out", out, *more)
    assert (done.code, done.err.strip().count("\n")) == (2, 0)
    assert "the Ray cluster 127.0.0.1:1 cannot be reached" in done.err
    assert not out.exists()


def essence(out: Path) -> dict[str, Any]:
    """All that a run found, without the times that it took."""
    trials = History(f"sqlite:///{out / 'study.db'}").load()
    final = {path.name: timeless(json.loads(path.read_text())) for path in (out / "final").iterdir()}
    return {
        "summary": timeless(json.loads((out / "summary.json").read_text())),
        "trials": [(t.proposal, timeless(vars(t.outcome)), dict(t.rescored)) for t in trials],
        "bank": {path.name: path.read_bytes() for path in (out / "bank").iterdir()},
        "final": final,
        "weights": (out / "model.safetensors").read_bytes(),
    }


def timeless(value: Any) -> Any:
    """Plain data without the times."""
    times = ("seconds", "search_seconds", "tokens_per_second")
    if isinstance(value, dict):
        return {key: timeless(part) for key, part in value.items() if key not in times}
    return [timeless(part) for part in value] if isinstance(value, list) else value


def test_a_whole_run_finds_what_one_without_a_cluster_finds(settings_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    for name, more in (("here", ()), ("there", ("--ray", "local"))):
        started = ("search", "--config", settings_file, "--out", tmp_path / name, "--set", "proxy.together=3")
        done = tiny.command(*started, *more)
        assert done.code == 0, done.err
    assert essence(tmp_path / "there") == essence(tmp_path / "here")


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for the clusters that a test starts: newer versions of Ray ask for one."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))


@contextmanager
def one_node(environment: Mapping[str, str]) -> Iterator[int]:
    """A cluster of one node with one core; yields the port of its head."""
    pytest.importorskip("ray", reason="Ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    start = [
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--num-cpus=1",
    ]
    node = subprocess.Popen(
        [sys.executable, "-m", *start, "--include-dashboard=false", "--disable-usage-stats"],
        env=os.environ | dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert node.poll() is None, "the cluster ended"
                assert time.monotonic() < deadline, "the cluster did not start"
                time.sleep(0.2)
        yield port
    finally:
        node.terminate()
        node.wait(60)


def kill_head(port: int) -> None:
    """Kills the process that keeps the state of the cluster with this port."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended
            program, *arguments = (process / "cmdline").read_text().split("\0")
            if program.endswith("gcs_server") and f"--gcs_server_port={port}" in arguments:
                os.kill(int(process.name), signal.SIGKILL)
                return
    raise AssertionError("the cluster has no head")


def test_a_head_that_dies_ends_the_search_with_a_line(settings_file: Path, tmp_path: Path) -> None:
    out, ended = tmp_path / "run", threading.Event()

    def kill_in_the_middle(port: int) -> None:
        while len(list((out / "bank").glob("*"))) < 2:  # the warm-up's, and the first batch's
            if ended.wait(0.1):
                return
        kill_head(port)

    with one_node({}) as port:
        killer = threading.Thread(target=kill_in_the_middle, args=(port,), daemon=True)
        killer.start()
        more = ("--set", "proxy.candidates=5000", "--ray", f"127.0.0.1:{port}")
        done = tiny.command("search", "--config", settings_file, "--out", out, *more)
        ended.set()
        killer.join()
    assert (done.code, done.err.strip().count("\n")) == (2, 0), done.err
    assert f"the Ray cluster 127.0.0.1:{port} was lost" in done.err
    assert "all recorded trials are kept, continue with --resume" in done.err
    assert History(f"sqlite:///{out / 'study.db'}").load()


@pytest.fixture
def cluster_without_the_package(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster of one node, in whose Python another package hides ours."""
    hiding = tmp_path / "path" / "autobert_zero"
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'autobert_zero'\")")
    with one_node({"PYTHONPATH": str(hiding.parent)}) as port:
        yield f"127.0.0.1:{port}"


def test_a_cluster_without_our_package(
    prepared: PreparedSearch, cluster_without_the_package: str, tmp_path: Path
) -> None:
    evaluator = prepared.evaluator()
    save_snapshot(evaluator.bank, tmp_path, 0)
    executor = RayExecutor(prepared.config, cluster_without_the_package)
    try:
        proposals = [Proposal(0, Backbone.parse(BACKBONES[0]).canonical())]
        with pytest.raises(UserError, match="cannot import autobert_zero; install this version"):
            list(executor.run(proposals, (), tmp_path / "00000000.safetensors", lambda *rest: None))
    finally:
        executor.close()
