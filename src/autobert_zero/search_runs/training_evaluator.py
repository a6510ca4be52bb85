"""The evaluator of a run: an executor trains, the bank learns, and snapshots keep what it learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autobert_zero.nn import Trained
from autobert_zero.progress import Bars
from autobert_zero.run_folder.names import snapshots_of
from autobert_zero.search.fair_sharing import due_for_retraining
from autobert_zero.search.halving import promotion_thresholds
from autobert_zero.search.rungs import rung_steps
from autobert_zero.search.training_config import ProxyConfig
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.search_runs.executor import Executor, run_candidates
from autobert_zero.search_runs.proxy_evaluator import WORST, ProxyEvaluator
from autobert_zero.search_runs.snapshots import (
    SnapshotWriter,
    restore_snapshot,
    save_snapshot,
    snapshot_path,
)
from autobert_zero.search_runs.tasks import Done
from autobert_zero.space import Space


@dataclass(frozen=True)
class TrainingEvaluator:
    """Trains and scores the candidates of a search; see `search.evaluator.Evaluator`.

    Attributes:
        proxy: Settings of the trainings of candidates.
        space: Bounds of the search space, for the warm-up.
        evaluator: Holds the shared weights.
        executor: Trains and scores candidates.
        snapshots: Folder for the shared weights.
        progress: Shows the progress.
    """

    proxy: ProxyConfig
    space: Space
    evaluator: ProxyEvaluator
    executor: Executor
    snapshots: Path
    progress: Bars
    _learned: list[Trained] = field(default_factory=list, init=False, repr=False)
    _writer: SnapshotWriter = field(default_factory=SnapshotWriter, init=False, repr=False)

    def restore(self, trials: Sequence[Trial]) -> int:
        """Loads the newest complete snapshot within the trials, or warms up the bank of a new run."""
        if snapshots_of(self.snapshots) or trials:
            return restore_snapshot(self.evaluator.bank, self.snapshots, len(trials), self.progress.say)
        self._warm_up()
        save_snapshot(self.evaluator.bank, self.snapshots, 0)
        return 0

    def _warm_up(self) -> None:
        self.executor.warm_up(
            self.evaluator,
            self.space,
            lambda done, total, loss: self.progress.update("warm-up", done, total, f"loss {loss:.3f}"),
        )

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> Mapping[int, float]:
        """Scores them with the current bank; those that are due are trained again before.

        Scores from new weights do not become stale. The new training is merged together with that of the next
        candidates, which start from the same state of the bank.
        """
        if self.proxy.sharing == "none":
            return {}
        again = due_for_retraining(trials, contenders, self.proxy.train_again)
        numbers = {trial.proposal.number for trial in again}
        stale = [trial for trial in contenders if trial.proposal.number not in numbers]
        scores = self.executor.rescore(
            self.evaluator,
            [trial.proposal.backbone for trial in stale],
            self._snapshot(len(trials)),
        )
        rescored = {trial.proposal.number: score for trial, score in zip(stale, scores, strict=True)}
        return rescored | self._train_again(again, len(trials))

    def _train_again(self, again: Sequence[Trial], count: int) -> dict[int, float]:
        """Trains candidates on new batches, and returns their new scores."""
        proposals = [replace(trial.proposal, number=self.proxy.candidates + count) for trial in again]
        results = self._run(proposals, (), count, "trained again")
        self._learned[:] = [trained for _, trained in results if trained is not None]
        scores: dict[int, float] = {}
        for trial, (outcome, _) in zip(again, results, strict=True):
            if outcome.score is not None:
                scores[trial.proposal.number] = outcome.score
            elif outcome.status is Status.DIVERGED:
                scores[trial.proposal.number] = WORST
        return scores

    def evaluate(self, proposals: Sequence[Proposal], trials: Sequence[Trial]) -> list[Outcome]:
        """Trains candidates from one state of the bank, and merges what they learned into it."""
        thresholds = promotion_thresholds(trials, rung_steps(self.proxy), self.proxy.rung_share)
        results = self._run(proposals, thresholds, len(trials), "together")
        learned = [trained for _, trained in results if trained is not None]
        self.evaluator.bank.absorb(*self._learned, *learned)
        self._learned.clear()
        return [outcome for outcome, _ in results]

    def _run(
        self, proposals: Sequence[Proposal], thresholds: Sequence[float], count: int, name: str
    ) -> list[Done]:
        """Trains candidates from the bank after the given number of trials; results in their order."""
        snapshot = self._snapshot(count)
        return run_candidates(self.executor, proposals, thresholds, snapshot, self.progress, name)

    def _snapshot(self, count: int) -> Path:
        """The file with the bank after the given number of trials; complete if the executor reads it."""
        if self.executor.reads_snapshots:
            self._writer.wait()
        return snapshot_path(self.snapshots, count)

    def save(self, count: int) -> None:
        """Saves the current bank: a snapshot is written while the next candidates train."""
        self._writer.save(self.evaluator.bank, self.snapshots, count)

    def close(self) -> None:
        """Returns when the last snapshot is on disk."""
        self._writer.close()
