"""The evaluator of a search from a model: every candidate starts from the same weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autobert_zero.progress import Bars
from autobert_zero.search.halving import promotion_thresholds
from autobert_zero.search.rungs import rung_steps
from autobert_zero.search.training_config import ProxyConfig
from autobert_zero.search.trial import Outcome, Proposal, Trial
from autobert_zero.search_runs.evaluate import ProxyEvaluator
from autobert_zero.search_runs.executors import Executor, run_candidates
from autobert_zero.search_runs.snapshots import restore_snapshot, save_snapshot, snapshot_path
from autobert_zero.space import Space


@dataclass(frozen=True)
class StudentEvaluator:
    """Distils and scores the candidates of a search; see `search.evaluator.Evaluator`.

    A score depends on no other candidate, so it does not age, and the shared weights are written once.

    Attributes:
        proxy: How candidates are trained.
        space: The bounds of the search.
        evaluator: Holds the shared weights.
        executor: Trains and scores.
        snapshots: Folder for the shared weights.
        progress: What the user sees.
    """

    proxy: ProxyConfig
    space: Space
    evaluator: ProxyEvaluator
    executor: Executor
    snapshots: Path
    progress: Bars

    def restore(self, trials: Sequence[Trial]) -> int:
        """Loads the shared weights; in a new run what the model lacks first learns to copy its layers."""
        if any(self.snapshots.glob("*.safetensors")) or trials:
            restore_snapshot(self.evaluator.bank, self.snapshots, len(trials), self.progress.say)
            return len(trials)
        self.evaluator.warm_up(
            self.space,
            lambda done, total, loss: self.progress.update("copying layers", done, total, f"loss {loss:.3f}"),
        )
        save_snapshot(self.evaluator.bank, self.snapshots, 0)
        return 0

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> Mapping[int, float]:
        """None: these scores do not age."""
        return {}

    def evaluate(self, proposals: Sequence[Proposal], trials: Sequence[Trial]) -> list[Outcome]:
        """Trains candidates from the shared weights."""
        bars = promotion_thresholds(trials, rung_steps(self.proxy), self.proxy.rung_share)
        snapshot = snapshot_path(self.snapshots, 0)
        done = run_candidates(self.executor, proposals, bars, snapshot, self.progress, "together")
        return [outcome for outcome, _ in done]

    def save(self, count: int) -> None:
        """There is nothing new to save."""
