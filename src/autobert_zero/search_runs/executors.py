"""The executors of this machine, and the choice of one."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from autobert_zero.devices import cards_of, release_cached_memory
from autobert_zero.errors import UserError
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.trial import Proposal
from autobert_zero.search_runs.candidate_limits import OnProgress
from autobert_zero.search_runs.executor import Executor, OnResult
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.ray_executor import RayExecutor
from autobert_zero.search_runs.tasks import Done, evaluate_candidate, trained_candidate
from autobert_zero.training.pool import WorkerPool
from autobert_zero.training.scratch import Job, OnJobStep, default_workers


class InProcessExecutor(Executor):
    """Trains candidates one after the other, in this process."""

    reads_snapshots = False

    def __init__(self, evaluator: ProxyEvaluator) -> None:
        self._evaluator = evaluator

    def run(
        self, proposals: Sequence[Proposal], thresholds: Sequence[float], snapshot: Path, on_step: OnProgress
    ) -> Iterator[tuple[int, Done]]:
        for index, proposal in enumerate(proposals):
            yield index, self._evaluator.evaluate(proposal, thresholds, on_step)

    def close(self) -> None:
        pass


class ProcessExecutor(Executor):
    """Trains several candidates at once; a process that dies is replaced and its candidate trained again.

    Args:
        config: Config of the run; each worker prepares it again, from the cache of the corpus.
        workers: Number of processes.
        tokenizer: Tokenizer of a run that is continued, as JSON; None: the one that the config names.
        cards: GPUs that the workers are spread over, see `WorkerPool`.
    """

    def __init__(
        self, config: SearchConfig, workers: int, tokenizer: str | None = None, cards: Sequence[str] = ()
    ) -> None:
        self._inputs = config, tokenizer
        self._pool = WorkerPool(workers, cards=cards)

    def run(
        self, proposals: Sequence[Proposal], thresholds: Sequence[float], snapshot: Path, on_step: OnProgress
    ) -> Iterator[tuple[int, Done]]:
        release_cached_memory()  # of this process, which has scored models on the card of a worker
        calls = [(*self._inputs, snapshot, proposal, tuple(thresholds)) for proposal in proposals]
        for index, sent in self._pool.run(evaluate_candidate, calls):
            yield index, trained_candidate(sent)

    def train(self, jobs: Sequence[Job], workers: int, on_step: OnJobStep, on_result: OnResult) -> None:
        self._pool.dismiss()  # those of candidates keep memory that the models need
        super().train(jobs, workers, on_step, on_result)

    def close(self) -> None:
        self._pool.close()


def make_executor(
    prepared: PreparedSearch, evaluator: ProxyEvaluator, workers: int = 0, ray: str | None = None
) -> Executor:
    """Makes the executor that the user asks for.

    Args:
        prepared: The prepared run.
        evaluator: Trains candidates in this process.
        workers: Processes of this machine; 0: as many as there are cores, or as many as fit on the GPUs, and
            candidates to train at once.
        ray: Address of a Ray cluster.

    Raises:
        UserError: There is nothing to divide among local workers, or the cluster cannot be used.
    """
    together = prepared.config.proxy.together
    config, tokenizer = prepared.config, prepared.tokenizer.to_str()
    if ray is not None:
        return RayExecutor(config, ray, tokenizer)
    workers = workers or min(together, default_workers(prepared.device, config.gpu_share))
    if workers == 1:
        return InProcessExecutor(evaluator)
    if together == 1:
        raise UserError(
            "proxy.together is 1: each candidate starts from the weights that the one before it left, so "
            "there is nothing to do in parallel; start a run with --set proxy.together=4, or use one worker"
        )
    return ProcessExecutor(config, workers, tokenizer, cards_of(prepared.device))
