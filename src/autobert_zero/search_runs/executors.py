"""Where models are trained: in this process, in processes of this machine, or on a Ray cluster.

Candidates that are trained together start from one state of the shared weights, so an executor changes how
long a search takes and nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch

from autobert_zero.devices import cards_of
from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.files import written_whole
from autobert_zero.nn import EncoderConfig, Trained
from autobert_zero.progress import Bars
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.trial import Outcome, Proposal, Status
from autobert_zero.search_runs import cluster, tasks
from autobert_zero.search_runs.evaluate import ProxyEvaluator, Watch
from autobert_zero.search_runs.prepare import Setting
from autobert_zero.space import Backbone, Space
from autobert_zero.training.pool import WorkerDied, WorkerPool
from autobert_zero.training.scratch import (
    Job,
    OnStep,
    Result,
    default_workers,
    threads_per_job,
    train_all,
)

Done = tuple[Outcome, Trained | None]


class Executor(Protocol):
    """Does all the training of a search."""

    def run(
        self, proposals: Sequence[Proposal], bars: Sequence[float], snapshot: Path, on_step: Watch
    ) -> Iterator[tuple[int, Done]]:
        """Trains candidates that start from one state of the shared weights, in any order.

        Args:
            proposals: The candidates.
            bars: What they have to reach at each rung.
            snapshot: File with the shared weights as they stand.
            on_step: Called with the progress of each where they are trained one after the other.

        Yields:
            The place of each among the proposals, with its outcome and trained weights.
        """
        ...

    def warm_up(self, evaluator: ProxyEvaluator, space: Space, on_step: Watch) -> None:
        """Warms up the bank of a new evaluator; see its `warm_up`."""
        ...

    def rescore(
        self, evaluator: ProxyEvaluator, backbones: Sequence[Backbone], snapshot: Path
    ) -> list[float]:
        """Scores backbones with the bank as it stands.

        Args:
            evaluator: Holds the bank.
            backbones: What to score.
            snapshot: File with the bank.
        """
        ...

    def train(
        self,
        jobs: Sequence[Job],
        workers: int,
        on_step: OnStep,
        on_result: Callable[[Result], None],
    ) -> None:
        """Trains models from scratch; see `train_all`."""
        ...

    def speed(self, setting: Setting, backbone: Backbone, sizes: EncoderConfig) -> float:
        """Tokens per second that a model of the final comparison trains at."""
        ...

    def close(self) -> None:
        """Ends the workers."""
        ...


class _Local:
    """What executors on this machine do in the same way: all but the candidates."""

    def warm_up(self, evaluator: ProxyEvaluator, space: Space, on_step: Watch) -> None:
        evaluator.warm_up(space, on_step)

    def rescore(
        self, evaluator: ProxyEvaluator, backbones: Sequence[Backbone], snapshot: Path
    ) -> list[float]:
        return evaluator.rescore(backbones)

    def train(
        self,
        jobs: Sequence[Job],
        workers: int,
        on_step: OnStep,
        on_result: Callable[[Result], None],
    ) -> None:
        train_all(jobs, workers, on_step, on_result)

    def speed(self, setting: Setting, backbone: Backbone, sizes: EncoderConfig) -> float:
        return tasks.speed_in(setting, backbone, sizes)


class InProcess(_Local):
    """One after the other, in this process."""

    def __init__(self, evaluator: ProxyEvaluator) -> None:
        self._evaluator = evaluator

    def run(
        self, proposals: Sequence[Proposal], bars: Sequence[float], snapshot: Path, on_step: Watch
    ) -> Iterator[tuple[int, Done]]:
        for place, proposal in enumerate(proposals):
            yield place, self._evaluator.evaluate(proposal, bars, on_step)

    def close(self) -> None:
        pass


class Processes(_Local):
    """Several at once, in processes of this machine. One that dies is replaced and its candidate redone.

    Args:
        config: Of the run; each worker prepares it again, from the cache of the corpus.
        workers: How many.
        tokenizer: Of a run that is continued, as JSON; None: what the config says.
        cards: GPUs that the workers are spread over, see `WorkerPool`.
    """

    def __init__(
        self, config: SearchConfig, workers: int, tokenizer: str | None = None, cards: Sequence[str] = ()
    ) -> None:
        self._setting = config, tokenizer
        self._pool = WorkerPool(workers, cards=cards)

    def run(
        self, proposals: Sequence[Proposal], bars: Sequence[float], snapshot: Path, on_step: Watch
    ) -> Iterator[tuple[int, Done]]:
        calls = [(*self._setting, snapshot, proposal, tuple(bars)) for proposal in proposals]
        for index, sent in self._pool.run(tasks.evaluate_candidate, calls):
            yield index, _done(sent)

    def close(self) -> None:
        self._pool.close()


class Ray:
    """Everything as tasks of a Ray cluster, whose nodes have this package and can read the corpus.

    A task whose worker or node dies is done again.

    Args:
        config: Of the run.
        address: Of the cluster, as `ray.init` takes it; `local` starts one on this machine.
        tokenizer: Of a run that is continued, as JSON; None: what the config says.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached. Later: the cluster was lost.
    """

    def __init__(self, config: SearchConfig, address: str, tokenizer: str | None = None) -> None:
        require("--ray", "ray")
        # Ray shows a task one GPU, as the first.
        anywhere = "cuda" if config.device.startswith("cuda") else config.device
        self._config, self._setting = config, (config.model_copy(update={"device": anywhere}), tokenizer)
        self._address = address
        self._pool = WorkerPool(1, deaths=0)
        self._answers = True  # as long as no call was broken off
        try:
            self._ask(cluster.connect, address, 0.0 if config.device == "cpu" else config.gpu_share)
        except BaseException:
            self._pool.close()
            raise

    def run(
        self, proposals: Sequence[Proposal], bars: Sequence[float], snapshot: Path, on_step: Watch
    ) -> Iterator[tuple[int, Done]]:
        number = 1 if self._config.proxy.together > 1 else torch.get_num_threads()
        calls = [(proposal, tuple(bars)) for proposal in proposals]
        for index, sent in self._tasks(tasks.evaluate_candidate, calls, number, snapshot):
            yield index, _done(sent)

    def warm_up(self, evaluator: ProxyEvaluator, space: Space, on_step: Watch) -> None:
        if self._config.proxy.sharing != "biws":
            return
        (snapshot, last) = self._whole(tasks.warm_up, [(space,)], ["the warm-up"])[0]
        evaluator.load(snapshot)
        if last is not None:
            on_step(*last)

    def rescore(
        self, evaluator: ProxyEvaluator, backbones: Sequence[Backbone], snapshot: Path
    ) -> list[float]:
        names = ["scoring again"] * len(backbones)
        return self._whole(tasks.rescore, [(backbone,) for backbone in backbones], names, snapshot)

    def train(
        self,
        jobs: Sequence[Job],
        workers: int,
        on_step: OnStep,
        on_result: Callable[[Result], None],
    ) -> None:
        calls = [(tasks.RemoteJob.of(job),) for job in jobs]
        for index, sent in self._tasks(tasks.train_job, calls, threads_per_job(workers, len(jobs))):
            job = jobs[index]
            result, weights = _checked(sent, job.name)
            if job.weights is not None and weights is not None:
                with written_whole(job.weights) as partial:
                    partial.write_bytes(weights)
            on_step(job.name, job.recipe.steps, job.recipe.steps)
            on_result(result)

    def speed(self, setting: Setting, backbone: Backbone, sizes: EncoderConfig) -> float:
        measured: float = self._whole(tasks.measure_speed, [(backbone, sizes)], ["measuring"])[0]
        return measured

    def close(self) -> None:
        if self._answers:
            with suppress(UserError):  # what the search lost with the cluster, it has said
                self._ask(cluster.disconnect)
        self._pool.close()

    def _whole(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        names: Sequence[str],
        snapshot: Path | None = None,
    ) -> list[Any]:
        """What all of the calls returned, in their order."""
        done = self._tasks(function, calls, torch.get_num_threads(), snapshot)
        by_index = {index: _checked(value, names[index]) for index, value in done}
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
            self._ask(cluster.submit, function, self._setting, snapshot, calls, number)
        for _ in calls:
            yield self._ask(cluster.take)

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Makes a call of `search_runs.cluster` in the process that talks to the cluster."""
        self._answers = False
        ((_, answer),) = self._pool.run(function, [arguments])
        if isinstance(answer, WorkerDied):
            raise cluster.cluster_lost(self._address)
        self._answers = True
        return answer


def run_candidates(
    executor: Executor,
    proposals: Sequence[Proposal],
    bars: Sequence[float],
    snapshot: Path,
    progress: Bars,
    name: str,
) -> list[Done]:
    """Trains candidates that start from one state of the shared weights.

    Args:
        executor: Trains.
        proposals: The candidates.
        bars: What they have to reach at each rung.
        snapshot: File with the shared weights.
        progress: What the user sees.
        name: What several of them are called there.

    Returns:
        What came of them, in their order.
    """
    done: dict[int, Done] = {}
    running = executor.run(
        proposals,
        bars,
        snapshot,
        lambda step, total, loss: progress.update("candidate", step, total, f"loss {loss:.3f}"),
    )
    for place, result in running:
        done[place] = result
        if len(proposals) > 1:
            progress.update(name, len(done), len(proposals))
    return [done[place] for place in range(len(proposals))]


def _checked(value: Any, name: str) -> Any:
    """What a task returned.

    Raises:
        UserError: Its worker died again and again.
    """
    if isinstance(value, WorkerDied):
        raise UserError(f"{name}: {value.reason}; free some memory on the nodes, then continue with --resume")
    return value


def make_executor(
    setting: Setting, evaluator: ProxyEvaluator, workers: int = 0, ray: str | None = None
) -> Executor:
    """The executor that the user asks for.

    Args:
        setting: Of the run.
        evaluator: For candidates in this process.
        workers: Processes of this machine; 0: as many as there are cores, or as many as fit on the GPUs, and
            candidates to train at once.
        ray: Address of a Ray cluster.

    Raises:
        UserError: There is nothing to divide among local workers, or the cluster cannot be used.
    """
    together = setting.config.proxy.together
    config, tokenizer = setting.config, setting.tokenizer.to_str()
    if ray is not None:
        return Ray(config, ray, tokenizer)
    workers = workers or min(together, default_workers(setting.device, config.gpu_share))
    if workers == 1:
        return InProcess(evaluator)
    if together == 1:
        raise UserError(
            "proxy.together is 1: each candidate starts from the weights that the one before it left, so "
            "there is nothing to do in parallel; start a run with --set proxy.together=4, or use one worker"
        )
    return Processes(config, workers, tokenizer, cards_of(setting.device))


def _done(sent: tuple[Outcome, Any] | WorkerDied) -> Done:
    if isinstance(sent, WorkerDied):
        return Outcome(Status.FAILED, reason=sent.reason), None
    outcome, trained = sent
    return outcome, None if trained is None else tasks.received(trained)
