"""Where models are trained: in this process, in processes of this machine, or on a Ray cluster.

Candidates that are trained together start from one state of the shared weights, so an executor changes how
long a search takes and nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from autobert_zero.devices import cards_of
from autobert_zero.errors import UserError
from autobert_zero.nn import EncoderConfig
from autobert_zero.progress import Bars
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.trial import Proposal
from autobert_zero.search_runs import tasks
from autobert_zero.search_runs.evaluate import ProxyEvaluator, Watch
from autobert_zero.search_runs.prepare import Setting
from autobert_zero.search_runs.ray_executor import Ray
from autobert_zero.search_runs.tasks import Done, trained_candidate
from autobert_zero.space import Backbone, Space
from autobert_zero.training.pool import WorkerPool
from autobert_zero.training.scratch import Job, OnStep, Result, default_workers, train_all


class Executor(Protocol):
    """Does all the training of a search.

    Attributes:
        reads_snapshots: Whether it needs the files with the shared weights, not the evaluator's bank.
    """

    reads_snapshots: bool

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

    reads_snapshots = False

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
        config: Config of the run; each worker prepares it again, from the cache of the corpus.
        workers: How many.
        tokenizer: Tokenizer of a run that is continued, as JSON; None: what the config names.
        cards: GPUs that the workers are spread over, see `WorkerPool`.
    """

    reads_snapshots = True

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
            yield index, trained_candidate(sent)

    def close(self) -> None:
        self._pool.close()


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
        Their results, in their order.
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


def make_executor(
    setting: Setting, evaluator: ProxyEvaluator, workers: int = 0, ray: str | None = None
) -> Executor:
    """The executor that the user asks for.

    Args:
        setting: Setting of the run.
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
