"""A search whose candidates are tasks of a Ray cluster; slow, and only where Ray is installed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

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
