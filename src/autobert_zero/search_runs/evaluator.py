"""The evaluator of a run: an executor trains, the bank learns, and snapshots keep what it learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autobert_zero.config import ProxyConfig
from autobert_zero.progress import Bars
from autobert_zero.search.halving import promotion_thresholds
from autobert_zero.search.rungs import rung_steps
from autobert_zero.search.trial import Outcome, Proposal, Trial
from autobert_zero.search_runs.evaluate import ProxyEvaluator, snapshot_path
from autobert_zero.search_runs.executors import Done, Executor
from autobert_zero.space import Space


@dataclass(frozen=True)
class TrainingEvaluator:
    """Trains and scores the candidates of a search; see `search.evaluator.Evaluator`.

    Attributes:
        proxy: How candidates are trained.
        space: The bounds, for the warm-up.
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
        """Loads the newest whole snapshot that the trials contain; warms the bank up if the run is new."""
        if any(self.snapshots.glob("*.safetensors")) or trials:
            return self.evaluator.restore(self.snapshots, len(trials), self.progress.say)
        self.executor.warm_up(
            self.evaluator,
            self.space,
            lambda done, total, loss: self.progress.update("warm-up", done, total, f"loss {loss:.3f}"),
        )
        self.evaluator.save(self.snapshots, 0)
        return 0

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> Mapping[int, float]:
        """Scores them with the bank as it stands; scores from new weights do not age."""
        stale = contenders if self.proxy.sharing != "none" else ()
        scores = self.executor.rescore(
            self.evaluator,
            [trial.proposal.backbone for trial in stale],
            snapshot_path(self.snapshots, len(trials)),
        )
        return {trial.proposal.number: score for trial, score in zip(stale, scores, strict=True)}

    def evaluate(self, proposals: Sequence[Proposal], trials: Sequence[Trial]) -> list[Outcome]:
        """Trains candidates from one state of the bank, and merges what they learned into it."""
        done: dict[int, Done] = {}
        running = self.executor.run(
            proposals,
            promotion_thresholds(trials, rung_steps(self.proxy), self.proxy.rung_share),
            snapshot_path(self.snapshots, len(trials)),
            lambda step, total, loss: self.progress.update("candidate", step, total, f"loss {loss:.3f}"),
        )
        for place, result in running:
            done[place] = result
            if len(proposals) > 1:
                self.progress.update("together", len(done), len(proposals))
        results = [done[place] for place in range(len(proposals))]
        self.evaluator.bank.absorb(*(trained for _, trained in results if trained is not None))
        return [outcome for outcome, _ in results]

    def save(self, count: int) -> None:
        """Writes a snapshot of the bank."""
        self.evaluator.save(self.snapshots, count)
