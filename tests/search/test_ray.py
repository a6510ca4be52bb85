"""A search whose candidates are tasks of a Ray cluster; slow, and only where Ray is installed."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

from autobert_zero.errors import UserError
from autobert_zero.search.executors import InProcess, Ray
from autobert_zero.search.prepare import Setting, prepare
from autobert_zero.search.trial import Proposal
from autobert_zero.space import Backbone

pytestmark = pytest.mark.slow
BACKBONES = ["conv 5\nsoftmax(scale(Q @ K.T)) @ V", "cosine(Q, K) @ P\nconv 31", "conv 3\nconv 7"]


@pytest.fixture
def setting(corpus_file: Path) -> Setting:
    config = tiny.config(corpus_file)
    return prepare(config.model_copy(update={"proxy": config.proxy.model_copy(update={"together": 3})}))


@pytest.fixture
def cluster(setting: Setting) -> Iterator[Ray]:
    pytest.importorskip("ray", reason="Ray is not installed")
    executor = Ray(setting.config, "local")
    yield executor
    executor.close()


def test_tasks_find_what_this_process_finds(setting: Setting, cluster: Ray, tmp_path: Path) -> None:
    evaluator = setting.evaluator()
    evaluator.save(tmp_path, 0)
    proposals = [Proposal(number, Backbone.parse(text)) for number, text in enumerate(BACKBONES)]

    def found(executor: Any) -> dict[int, Any]:
        run = executor.run(proposals, (), tmp_path / "00000000.safetensors", lambda *rest: None)
        return {
            place: (outcome.score, {name: tensor.sum().item() for name, tensor in trained.weights.items()})
            for place, (outcome, trained) in run
        }

    assert found(cluster) == found(InProcess(evaluator))


def test_a_cluster_that_cannot_be_reached(settings_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    out = tmp_path / "run"
    more = ("--set", "proxy.together=3", "--ray", "127.0.0.1:1")
    done = tiny.command("search", "--config", settings_file, "--out", out, *more)
    assert (done.code, done.err.strip().count("\n")) == (2, 0)
    assert "the Ray cluster 127.0.0.1:1 cannot be reached" in done.err
    assert not out.exists()


@pytest.fixture
def cluster_without_the_package(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster of one node, in whose Python another package hides ours."""
    pytest.importorskip("ray", reason="Ray is not installed")
    hiding = tmp_path / "path" / "autobert_zero"
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'autobert_zero'\")")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = ["ray.scripts.scripts", "start", "--head", "--block", f"--port={port}", "--num-cpus=1"]
    node = subprocess.Popen(
        [sys.executable, "-m", *start, "--include-dashboard=false", "--disable-usage-stats"],
        env=os.environ | {"PYTHONPATH": str(hiding.parent)},
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
        yield f"127.0.0.1:{port}"
    finally:
        node.terminate()
        node.wait(60)


def test_a_cluster_without_our_package(
    setting: Setting, cluster_without_the_package: str, tmp_path: Path
) -> None:
    evaluator = setting.evaluator()
    evaluator.save(tmp_path, 0)
    executor = Ray(setting.config, cluster_without_the_package)
    try:
        proposals = [Proposal(0, Backbone.parse(BACKBONES[0]))]
        with pytest.raises(UserError, match="cannot import autobert_zero; install this version"):
            list(executor.run(proposals, (), tmp_path / "00000000.safetensors", lambda *rest: None))
    finally:
        executor.close()
