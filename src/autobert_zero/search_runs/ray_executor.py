"""Runs all the training of a search as tasks of a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.files import written_whole
from autobert_zero.nn import EncoderConfig
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.trial import Proposal
from autobert_zero.search_runs import cluster, tasks
from autobert_zero.search_runs.candidate_limits import OnProgress
from autobert_zero.search_runs.executor import Executor, OnResult
from autobert_zero.search_runs.jobs import training_of
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.snapshots import load_snapshot
from autobert_zero.search_runs.tasks import Done, trained_candidate
from autobert_zero.space import Backbone, Space
from autobert_zero.training.pool import WorkerDied, WorkerPool
from autobert_zero.training.scratch import Job, OnJobStep, threads_per_job


class RayExecutor(Executor):
    """Does everything as tasks of a Ray cluster, whose nodes have this package and can read the corpus.

    A task whose worker or node dies is done again.

    Args:
        config: Config of the run.
        address: Address of the cluster for `ray.init`; `local` starts one on this machine.
        tokenizer: Tokenizer of a continued run, as JSON; None: the one that the config names.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached. Later: the cluster was lost.
    """

    def __init__(self, config: SearchConfig, address: str, tokenizer: str | None = None) -> None:
        require("--ray", "ray")
        # Ray shows a task one GPU, as the first.
        anywhere = "cuda" if config.device.startswith("cuda") else config.device
        self._config, self._inputs = config, (config.model_copy(update={"device": anywhere}), tokenizer)
        self._address = address
        self._pool = WorkerPool(1, max_deaths=0)
        self._answers = True  # while no call was interrupted
        try:
            self._call(cluster.connect, address, 0.0 if config.device == "cpu" else config.gpu_share)
        except BaseException:
            self._pool.close()
            raise

    def run(
        self, proposals: Sequence[Proposal], thresholds: Sequence[float], snapshot: Path, on_step: OnProgress
    ) -> Iterator[tuple[int, Done]]:
        number = 1 if self._config.proxy.together > 1 else torch.get_num_threads()
        calls = [(proposal, tuple(thresholds)) for proposal in proposals]
        for index, sent in self._tasks(tasks.evaluate_candidate, calls, number, snapshot):
            yield index, trained_candidate(sent)

    def warm_up(self, evaluator: ProxyEvaluator, space: Space, on_step: OnProgress) -> None:
        if self._config.proxy.sharing != "biws":
            return
        (snapshot, last) = self._whole(tasks.warm_up, [(space,)], ["the warm-up"])[0]
        load_snapshot(evaluator.bank, snapshot)
        if last is not None:
            on_step(*last)

    def rescore(
        self, evaluator: ProxyEvaluator, backbones: Sequence[Backbone], snapshot: Path
    ) -> list[float]:
        names = ["scoring again"] * len(backbones)
        return self._whole(tasks.rescore, [(backbone,) for backbone in backbones], names, snapshot)

    def train(self, jobs: Sequence[Job], workers: int, on_step: OnJobStep, on_result: OnResult) -> None:
        calls = [(training_of(job),) for job in jobs]
        for index, sent in self._tasks(tasks.train_job, calls, threads_per_job(workers, len(jobs))):
            job = jobs[index]
            result, weights = _task_result(sent, job.name)
            if job.weights is not None and weights is not None:
                with written_whole(job.weights) as partial:
                    partial.write_bytes(weights)
            on_step(job.name, job.recipe.steps, job.recipe.steps)
            on_result(result)

    def speed(self, prepared: PreparedSearch, backbone: Backbone, sizes: EncoderConfig) -> float:
        measured: float = self._whole(tasks.measure_speed, [(backbone, sizes)], ["measuring"])[0]
        return measured

    def close(self) -> None:
        if self._answers:
            with suppress(UserError):  # the search has already reported a lost cluster
                self._ask("close")
        self._pool.close()

    def _whole(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        names: Sequence[str],
        snapshot: Path | None = None,
    ) -> list[Any]:
        """The results of all calls, in their order."""
        done = self._tasks(function, calls, torch.get_num_threads(), snapshot)
        by_index = {index: _task_result(value, names[index]) for index, value in done}
        return [by_index[index] for index in range(len(calls))]

    def _tasks(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        number: int,
        snapshot: Path | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Makes calls on the cluster; yields the index of each with what it returned, or a `WorkerDied`."""
        if calls:
            self._ask("submit", function, self._inputs, snapshot, calls, number)
        for _ in calls:
            yield self._ask("take")

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the client in the process that talks to the cluster; see `cluster.ask`."""
        return self._call(cluster.ask, method, arguments)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._answers = False
        ((_, answer),) = self._pool.run(function, [arguments])
        if isinstance(answer, WorkerDied):
            raise cluster.cluster_lost(self._address)
        self._answers = True
        return answer


def _task_result(value: Any, name: str) -> Any:
    """The result of a task.

    Raises:
        UserError: The worker of the task died repeatedly.
    """
    if isinstance(value, WorkerDied):
        raise UserError(f"{name}: {value.reason}; free some memory on the nodes, then continue with --resume")
    return value
