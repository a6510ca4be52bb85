"""The base of executors, which train the models of a search: here, on this machine.

Candidates that are trained together start from one state of the shared weights, so an executor changes how
long a search takes and nothing else.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from autobert_zero.nn import EncoderConfig
from autobert_zero.progress import Bars
from autobert_zero.search.trial import Proposal
from autobert_zero.search_runs.candidate_limits import OnProgress
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.tasks import Done, speed_in
from autobert_zero.space import Backbone, Space
from autobert_zero.training.scratch import Job, JobResult, OnJobStep, train_all

OnResult = Callable[[JobResult], None]
"""Called with the result of a job when it ends."""


class Executor(ABC):
    """Does all the training of a search: all but the candidates on this machine, unless a subclass does it.

    Attributes:
        reads_snapshots: Whether it needs the files with the shared weights, not the evaluator's bank.
    """

    reads_snapshots = True

    @abstractmethod
    def run(
        self, proposals: Sequence[Proposal], thresholds: Sequence[float], snapshot: Path, on_step: OnProgress
    ) -> Iterator[tuple[int, Done]]:
        """Trains candidates that start from one state of the shared weights, in any order.

        Args:
            proposals: The candidates.
            thresholds: Scores that they have to reach at each rung.
            snapshot: File with the current shared weights.
            on_step: Called with the progress of each, if they are trained one after the other.

        Yields:
            The index of each among the proposals, with its outcome and trained weights.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends the workers."""

    def warm_up(self, evaluator: ProxyEvaluator, space: Space, on_step: OnProgress) -> None:
        """Warms up the bank of a new evaluator; see its `warm_up`."""
        evaluator.warm_up(space, on_step)

    def rescore(
        self, evaluator: ProxyEvaluator, backbones: Sequence[Backbone], snapshot: Path
    ) -> list[float]:
        """Scores backbones with the current bank, which the evaluator and the snapshot hold."""
        return evaluator.rescore(backbones)

    def train(self, jobs: Sequence[Job], workers: int, on_step: OnJobStep, on_result: OnResult) -> None:
        """Trains models from scratch; see `train_all`."""
        train_all(jobs, workers, on_step, on_result)

    def speed(self, prepared: PreparedSearch, backbone: Backbone, sizes: EncoderConfig) -> float:
        """Tokens per second that a model of the final comparison trains at."""
        return speed_in(prepared, backbone, sizes)


def run_candidates(
    executor: Executor,
    proposals: Sequence[Proposal],
    thresholds: Sequence[float],
    snapshot: Path,
    progress: Bars,
    name: str,
) -> list[Done]:
    """Trains candidates that start from one state of the shared weights; results in their order.

    Args:
        executor: Trains the candidates.
        proposals: The candidates.
        thresholds: Scores that they have to reach at each rung.
        snapshot: File with the shared weights.
        progress: Shows the progress.
        name: Name of the progress bar of several candidates.
    """

    def on_step(step: int, total: int, loss: float) -> None:
        progress.update("candidate", step, total, f"loss {loss:.3f}")

    done: dict[int, Done] = {}
    for index, result in executor.run(proposals, thresholds, snapshot, on_step):
        done[index] = result
        if len(proposals) > 1:
            progress.update(name, len(done), len(proposals))
    return [done[index] for index in range(len(proposals))]
