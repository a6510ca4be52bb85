"""Where candidates are trained: in this process, in processes of this machine, or on a Ray cluster.

Candidates that are trained together start from one state of the shared weights, so an executor changes how
long a search takes and nothing else.
"""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import torch
from tokenizers import Tokenizer

from autobert_zero.config import SearchConfig
from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.nn import Trained
from autobert_zero.search.evaluate import ProxyEvaluator, Watch
from autobert_zero.search.prepare import Setting, prepare
from autobert_zero.search.trial import Outcome, Proposal, Status
from autobert_zero.training.pool import Report, WorkerDied, WorkerPool
from autobert_zero.training.scratch import default_workers

Done = tuple[Outcome, Trained | None]
_Sent = tuple[Outcome, Any]

_RETRIES = 2
"""How often Ray trains a candidate again whose worker died."""

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
        tokenizer: Of a run that is continued, as JSON; None: what the config says.
    """

    def __init__(self, config: SearchConfig, workers: int, tokenizer: str | None = None) -> None:
        self._setting = config, tokenizer
        self._pool = WorkerPool(workers)

    def run(
        self, proposals: Sequence[Proposal], bars: Sequence[float], snapshot: Path, on_step: Watch
    ) -> Iterator[tuple[int, Done]]:
        calls = [(*self._setting, snapshot, proposal, tuple(bars)) for proposal in proposals]
        for index, sent in self._pool.run(_work, calls):
            yield index, _received(sent)

    def close(self) -> None:
        self._pool.close()


class Ray:
    """Several at once, as tasks of a Ray cluster, whose nodes have this package and can read the corpus.

    Args:
        config: Of the run.
        address: Of the cluster, as `ray.init` takes it; `local` starts one on this machine.
        tokenizer: Of a run that is continued, as JSON; None: what the config says.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, config: SearchConfig, address: str, tokenizer: str | None = None) -> None:
        require("--ray", "ray")
        import ray

        self._ray = ray
        self._setting = config, tokenizer
        try:
            _check_answers(address)
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (OSError, ValueError, RuntimeError) as error:
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"the Ray cluster {address} cannot be reached: {cause}") from None
        uses_gpu = config.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        options: dict[str, Any] = {"num_gpus": 1} if uses_gpu else {"num_cpus": 1}
        self._task = ray.remote(max_retries=_RETRIES, **options)(_work)

    def run(
        self, proposals: Sequence[Proposal], bars: Sequence[float], snapshot: Path, on_step: Watch
    ) -> Iterator[tuple[int, Done]]:
        shared = self._ray.put(snapshot.read_bytes())
        running = {
            self._task.remote(*self._setting, shared, proposal, tuple(bars)): place
            for place, proposal in enumerate(proposals)
        }
        waiting = list(running)
        while waiting:
            (first, *_), waiting = self._ray.wait(waiting, num_returns=1)
            try:
                yield running[first], _received(self._ray.get(first))
            except (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.OutOfMemoryError) as error:
                reason = f"its worker died {_RETRIES + 1} times: {str(error).splitlines()[0]}"
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
    setting: Setting, evaluator: ProxyEvaluator, workers: int = 0, ray: str | None = None
) -> Executor:
    """The executor that the user asks for.

    Args:
        setting: Of the run.
        evaluator: For candidates in this process.
        workers: Processes of this machine; 0: as many as there are cores and candidates to train at once, 1
            with a GPU.
        ray: Address of a Ray cluster.

    Raises:
        UserError: There is nothing to divide, or the cluster cannot be used.
    """
    together = setting.config.proxy.together
    workers = workers or min(together, default_workers(setting.device))
    if workers == 1 and ray is None:
        return InProcess(evaluator)
    if together == 1:
        raise UserError(
            "proxy.together is 1: each candidate starts from the weights that the one before it left, so "
            "there is nothing to do in parallel; start a run with --set proxy.together=4, or use one worker"
        )
    config, tokenizer = setting.config, setting.tokenizer.to_str()
    return Processes(config, workers, tokenizer) if ray is None else Ray(config, ray, tokenizer)


@lru_cache(maxsize=1)
def _evaluator(config: SearchConfig, tokenizer: str | None) -> ProxyEvaluator:
    """The evaluator of a worker, prepared once."""
    return prepare(config, tokenizer=Tokenizer.from_str(tokenizer) if tokenizer else None).evaluator()


def _work(
    config: SearchConfig,
    tokenizer: str | None,
    snapshot: Path | bytes,
    proposal: Proposal,
    bars: tuple[float, ...],
    report: Report = lambda *values: None,
) -> _Sent:
    """What a worker does with a candidate."""
    evaluator = _evaluator(config, tokenizer)
    evaluator.load(snapshot)
    outcome, trained = evaluator.evaluate(proposal, bars)
    return outcome, None if trained is None else _sent(trained)


def _sent(trained: Trained) -> Trained:
    """With arrays in place of tensors: they travel as plain bytes, not through shared memory."""
    return _converted(trained, lambda tensor: tensor.detach().cpu().numpy())


def _received(sent: _Sent | WorkerDied) -> Done:
    if isinstance(sent, WorkerDied):
        return Outcome(Status.FAILED, reason=sent.reason), None
    outcome, trained = sent
    return outcome, None if trained is None else _converted(trained, torch.tensor)


def _converted(trained: Trained, convert: Callable[[Any], Any]) -> Trained:
    def each(tensors: Mapping[str, Any]) -> dict[str, Any]:
        return {name: convert(tensor) for name, tensor in tensors.items()}

    moments = {key: each(tensors) for key, tensors in trained.moments.items()}
    return replace(trained, weights=each(trained.weights), moments=moments)
