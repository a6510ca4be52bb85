"""Where candidates are trained: in this process, in processes of this machine, or on a Ray cluster.

Candidates that are trained together start from one state of the shared weights, so an executor changes how
long a search takes and nothing else.
"""

import multiprocessing
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import torch

from autobert_zero.config import SearchConfig
from autobert_zero.errors import UserError
from autobert_zero.memory import keep_freed_memory
from autobert_zero.nn import Trained
from autobert_zero.search.evaluate import ProxyEvaluator, Watch
from autobert_zero.search.prepare import prepare
from autobert_zero.search.trial import Outcome, Proposal, Status
from autobert_zero.signals import leave_to_parent

Done = tuple[Outcome, Trained | None]
_Sent = tuple[Outcome, Any]

_DEATHS = 2
"""A candidate whose worker died so often while it was alone has failed."""


_PATIENCE = 10.0
"""Seconds in which a cluster has to answer."""


class Executor(Protocol):
    """Evaluates candidates that start from one state of the shared weights."""

    def run(
        self, proposals: Sequence[Proposal], bars: Sequence[float], snapshot: Path, on_step: Watch
    ) -> Iterator[tuple[int, Done]]:
        """Trains them, in any order.

        Args:
            proposals: The candidates.
            bars: What they have to reach at each rung.
            snapshot: File with the shared weights as they stand.
            on_step: Told the progress of each where they are trained one after the other.

        Yields:
            The place of each among the proposals, with its outcome and trained weights.
        """
        ...

    def close(self) -> None:
        """Ends the workers."""
        ...


class InProcess:
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


class Processes:
    """Several at once, in processes of this machine. One that dies is replaced and its candidate redone.

    Args:
        config: Of the run; each worker prepares it anew, from the cache of the corpus.
        workers: How many.
    """

    def __init__(self, config: SearchConfig, workers: int) -> None:
        self._config = config
        self._context = multiprocessing.get_context("spawn")
        # Workers wait for the end of this pipe: it comes when the search closes it and when the search dies.
        # An event would not do: to set one waits for a worker that died waiting for it.
        self._end, self._open = self._context.Pipe(duplex=False)
        # One pool for each worker: one that dies breaks its own, and takes no other's candidate along.
        self._pools = [self._new_pool() for _ in range(workers)]

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self._context, _start_worker, (self._end,))

    def run(
        self, proposals: Sequence[Proposal], bars: Sequence[float], snapshot: Path, on_step: Watch
    ) -> Iterator[tuple[int, Done]]:
        def start(worker: int, place: int) -> Future[_Sent]:
            return self._submit(worker, self._config, snapshot, proposals[place], tuple(bars))

        waiting, idle = deque(range(len(proposals))), deque(range(len(self._pools)))
        running: dict[Future[_Sent], tuple[int, int]] = {}
        alone: list[int] = []
        while waiting or running:
            while waiting and idle:
                worker, place = idle.popleft(), waiting.popleft()
                running[start(worker, place)] = worker, place
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, place = running.pop(future)
                idle.append(worker)
                sent = self._result(worker, future)
                if sent is None:
                    alone.append(place)
                else:
                    yield place, _received(sent)
        # Where memory ran out, the system may have ended another's worker. Alone, the guilty one is found.
        for place in sorted(alone):
            for _ in range(_DEATHS):
                sent = self._result(0, start(0, place))
                if sent is not None:
                    yield place, _received(sent)
                    break
            else:
                reason = f"its worker died {_DEATHS} times; it may need more memory than there is"
                yield place, (Outcome(Status.FAILED, reason=reason), None)

    def _submit(self, worker: int, *work: Any) -> Future[_Sent]:
        try:
            return self._pools[worker].submit(_work, *work)
        except BrokenProcessPool:  # it died while there was nothing to do
            self._pools[worker] = self._new_pool()
            return self._pools[worker].submit(_work, *work)

    def _result(self, worker: int, future: Future[_Sent]) -> _Sent | None:
        """None: the worker died; there is a new one."""
        try:
            return future.result()
        except BrokenProcessPool:
            self._pools[worker] = self._new_pool()
            return None

    def close(self) -> None:
        self._open.close()  # nobody waits for what is under way
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        self._end.close()


class Ray:
    """Several at once, as tasks of a Ray cluster, whose nodes have this package and can read the corpus.

    Args:
        config: Of the run.
        address: Of the cluster, as `ray.init` takes it; `local` starts one on this machine.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, config: SearchConfig, address: str) -> None:
        try:
            import ray
        except ImportError:
            raise UserError("--ray needs Ray: pip install 'autobert-zero[ray]'") from None
        self._ray = ray
        self._config = config
        try:
            _check_answers(address)
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (OSError, ValueError, RuntimeError) as error:
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"the Ray cluster {address} cannot be reached: {cause}") from None
        uses_gpu = config.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        options: dict[str, Any] = {"num_gpus": 1} if uses_gpu else {"num_cpus": 1}
        self._task = ray.remote(max_retries=_DEATHS, **options)(_work)

    def run(
        self, proposals: Sequence[Proposal], bars: Sequence[float], snapshot: Path, on_step: Watch
    ) -> Iterator[tuple[int, Done]]:
        shared = self._ray.put(snapshot.read_bytes())
        running = {
            self._task.remote(self._config, shared, proposal, tuple(bars)): place
            for place, proposal in enumerate(proposals)
        }
        waiting = list(running)
        while waiting:
            (first, *_), waiting = self._ray.wait(waiting, num_returns=1)
            try:
                yield running[first], _received(self._ray.get(first))
            except (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.OutOfMemoryError) as error:
                reason = f"its worker died {_DEATHS + 1} times: {str(error).splitlines()[0]}"
                yield running[first], (Outcome(Status.FAILED, reason=reason), None)
            except (ModuleNotFoundError, self._ray.exceptions.RaySystemError) as error:
                if "autobert_zero" not in str(error):
                    raise
                raise UserError(
                    "the nodes of the Ray cluster cannot import autobert_zero; install this version of the "
                    "package on all of them"
                ) from error

    def close(self) -> None:
        self._ray.shutdown()


def _check_answers(address: str) -> None:
    """Connects to an address of the form host:port: Ray itself waits for minutes where nobody answers.

    Raises:
        OSError: Nobody does.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()


def make_executor(
    config: SearchConfig, evaluator: ProxyEvaluator, workers: int = 1, ray: str | None = None
) -> Executor:
    """The executor that the user asks for.

    Args:
        config: Of the run.
        evaluator: For candidates in this process.
        workers: Processes of this machine.
        ray: Address of a Ray cluster.

    Raises:
        UserError: There is nothing to divide, or the cluster cannot be used.
    """
    if workers == 1 and ray is None:
        return InProcess(evaluator)
    if config.proxy.together == 1:
        raise UserError(
            "proxy.together is 1: each candidate starts from the weights that the one before it left, so "
            "there is nothing to do in parallel; start a run with --set proxy.together=4, or use one worker"
        )
    return Processes(config, workers) if ray is None else Ray(config, ray)


def _start_worker(end: Connection) -> None:
    keep_freed_memory()
    leave_to_parent()

    def end_with_the_search() -> None:
        end.poll(None)
        os._exit(1)  # in the middle of a candidate: a worker leaves nothing behind

    threading.Thread(target=end_with_the_search, daemon=True).start()


@lru_cache(maxsize=1)
def _evaluator(config: SearchConfig) -> ProxyEvaluator:
    """The evaluator of a worker, prepared once."""
    return prepare(config).evaluator()


def _work(config: SearchConfig, snapshot: Path | bytes, proposal: Proposal, bars: tuple[float, ...]) -> _Sent:
    """What a worker does with a candidate."""
    evaluator = _evaluator(config)
    evaluator.load(snapshot)
    outcome, trained = evaluator.evaluate(proposal, bars)
    return outcome, None if trained is None else _sent(trained)


def _sent(trained: Trained) -> Trained:
    """With arrays in place of tensors: they travel as plain bytes, not through shared memory."""
    return _converted(trained, lambda tensor: tensor.detach().cpu().numpy())


def _received(sent: _Sent) -> Done:
    outcome, trained = sent
    return outcome, None if trained is None else _converted(trained, torch.tensor)


def _converted(trained: Trained, convert: Callable[[Any], Any]) -> Trained:
    def each(tensors: Mapping[str, Any]) -> dict[str, Any]:
        return {name: convert(tensor) for name, tensor in tensors.items()}

    moments = {key: each(tensors) for key, tensors in trained.moments.items()}
    return replace(trained, weights=each(trained.weights), moments=moments)
