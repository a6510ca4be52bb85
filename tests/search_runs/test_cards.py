"""Which GPU a candidate is trained on: one of all cards of this machine, or a share of one of a cluster."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tiny
import torch

from autobert_zero.errors import UserError
from autobert_zero.search_runs import cluster, executors, prepare, ray_executor
from autobert_zero.search_runs.executors import ProcessExecutor, make_executor
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.search_runs.ray_executor import RayExecutor
from autobert_zero.training import scratch


@pytest.fixture
def prepared(corpus_file: Path) -> PreparedSearch:
    made = prepare.prepare(tiny.config(corpus_file, device="cpu", proxy={"together": 8}))
    return replace(made, device=torch.device("cuda"))


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cards."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("workers", "share", "expected"), [(0, 1.0, 2), (0, 0.5, 4), (0, 0.1, 8), (3, 1.0, 3)]
)
def test_workers_are_spread_over_all_cards(
    prepared: PreparedSearch, workers: int, share: float, expected: int
) -> None:
    config = prepared.config.model_copy(update={"gpu_share": share})
    with mock.patch.object(executors, "WorkerPool") as pool:
        made = make_executor(replace(prepared, config=config), mock.Mock(), workers)
    assert isinstance(made, ProcessExecutor)
    assert pool.call_args == mock.call(expected, cards=("0", "1"))


@pytest.mark.usefixtures("cards")
def test_a_card_that_is_named_is_the_only_one(prepared: PreparedSearch) -> None:
    with mock.patch.object(executors, "WorkerPool") as pool:
        make_executor(replace(prepared, device=torch.device("cuda:1")), mock.Mock(), 2)
    assert pool.call_args == mock.call(2, cards=())


@pytest.mark.usefixtures("cards")
def test_models_from_scratch_are_spread_too() -> None:
    jobs: list[Any] = [mock.Mock(device="cuda")] * 3
    with mock.patch.object(scratch, "WorkerPool") as pool:
        pool.return_value.run.return_value = iter(())
        scratch.train_all(jobs, 2, mock.Mock(), mock.Mock())
    assert pool.call_args.kwargs == {"cards": ("0", "1")}


def test_workers_find_the_memory_of_their_card_free(
    prepared: PreparedSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process, which measures and scores on the first card, keeps none, nor do those of candidates."""
    events: list[str] = []

    def pool_of(name: str) -> mock.Mock:
        def run(*given: Any) -> Iterator[Any]:
            events.append(f"{name} run")
            return iter(())

        pool = mock.Mock()
        pool.run.side_effect = run
        pool.dismiss.side_effect = lambda: events.append(f"{name} end")
        return pool

    for module, name in ((executors, "candidates"), (scratch, "models")):
        monkeypatch.setattr(module, "WorkerPool", mock.Mock(return_value=pool_of(name)))
        monkeypatch.setattr(module, "release_cached_memory", lambda: events.append("release"))
    made = make_executor(prepared, mock.Mock(), 2)
    jobs: list[Any] = [mock.Mock(device="cuda")] * 2
    assert list(made.run([], (), Path(), mock.Mock())) == []
    made.train(jobs, 2, mock.Mock(), mock.Mock())
    assert events == ["release", "candidates run", "candidates end", "release", "models run"]


@pytest.mark.parametrize(
    ("device", "share", "sent", "asked"),
    [
        ("cuda:3", 1.0, "cuda", 1.0),
        ("cuda", 0.25, "cuda", 0.25),
        ("auto", 0.5, "auto", 0.5),
        ("cpu", 1.0, "cpu", 0.0),
    ],
)
def test_a_task_of_ray_has_its_share_as_the_first_card(
    prepared: PreparedSearch, device: str, share: float, sent: str, asked: float
) -> None:
    config = prepared.config.model_copy(update={"device": device, "gpu_share": share})
    with mock.patch.object(ray_executor, "require"), mock.patch.object(ray_executor, "WorkerPool") as pool:
        pool.return_value.run.side_effect = lambda function, calls: iter([(0, None)])
        ray = RayExecutor(config, "local")
    assert pool.return_value.run.call_args == mock.call(cluster.connect, [("local", asked)])
    assert ray._inputs[0].device == sent


def test_a_task_of_ray_keeps_no_memory_of_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(cluster, "release_cached_memory", lambda: events.append("release"))
    cluster._on_node(1, events.append, "train")
    assert events == ["train", "release"]


@pytest.mark.parametrize(("share", "needs"), [(0.25, {"num_gpus": 0.25}), (0.0, {"num_cpus": 2})])
def test_what_a_task_asks_for(share: float, needs: dict[str, float]) -> None:
    client = object.__new__(cluster._Client)
    client._gpu_share, client._cores = share, 2
    assert client._needs(4) == needs


@pytest.mark.parametrize(
    ("share", "gpus", "options"),
    [
        (0.5, [1, 2], {"max_retries": 2, "max_calls": 1}),
        (1.0, [1, 0, 1], {"max_retries": 2}),
        (0.0, [8], {"max_retries": 2}),
    ],
)
def test_no_process_of_ray_is_used_again_where_its_next_task_may_get_another_gpu(
    monkeypatch: pytest.MonkeyPatch, share: float, gpus: list[int], options: dict[str, int]
) -> None:
    """With `ray.init(num_gpus=2)` half of the tasks of processes that were used again saw the other GPU."""
    ray = mock.Mock()
    ray.nodes.return_value = [{"Resources": {"CPU": 4.0, "GPU": float(number)}} for number in gpus]
    ray.cluster_resources.return_value = {"GPU": float(sum(gpus))}
    monkeypatch.setitem(sys.modules, "ray", ray)
    client = cluster._Client("local", share)
    assert ray.remote.call_args == mock.call(**options)
    assert client._cores == 4


def test_the_machine_that_starts_a_cluster_needs_no_gpu(corpus_file: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    config = tiny.config(corpus_file, device="cuda:1", precision="tf32")
    with pytest.raises(UserError, match="device 'cuda:1' cannot be used"):
        prepare.prepare(config)
    prepared = prepare.prepare(config, remote=True)
    assert prepared.device == torch.device("cpu")
    assert prepared.announcement("ray://head:10001")[-1] == (
        "trained on the Ray cluster ray://head:10001; precision tf32"
    )
    with pytest.raises(UserError, match="device 'cuda:1' cannot be used"):  # latency is measured here
        prepare.prepare(
            tiny.config(corpus_file, device="cuda:1", limits={"max_latency_ms": 1.0}), remote=True
        )
    with pytest.raises(UserError, match="device 'toaster' cannot be used"):
        prepare.prepare(tiny.config(corpus_file, device="toaster"), remote=True)
