"""The evaluator of a search from a model: every candidate starts from the same weights."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autobert_zero.files import write_text
from autobert_zero.run_folder import RunError
from autobert_zero.search.trial import Proposal, Trial
from autobert_zero.search_runs.tasks import Done
from autobert_zero.search_runs.training_evaluator import TrainingEvaluator


@dataclass(frozen=True)
class StudentEvaluator(TrainingEvaluator):
    """Distils and scores the candidates of a search; see `search.evaluator.Evaluator`.

    A score depends on no other candidate, so it does not become stale, and the shared weights are written
    once. After every batch its end is recorded, so that a resumed search asks in the same batches.
    """

    def restore(self, trials: Sequence[Trial]) -> int:
        """Loads the shared weights; in a new run, branches that the model lacks first learn to copy it."""
        super().restore(trials)
        if not self._batches.exists():  # a new run, or one of an earlier version
            self.save(len(trials))
        return max((end for end in self._ends() if end <= len(trials)), default=0)

    def save(self, count: int) -> None:
        """Records where the batch ends."""
        before = [end for end in self._ends() if end < count]
        write_text(self._batches, json.dumps([*before, count]))

    def _warm_up(self) -> None:
        self.evaluator.warm_up(
            self.space,
            lambda done, total, loss: self.progress.update("copying layers", done, total, f"loss {loss:.3f}"),
        )

    def _run(
        self, proposals: Sequence[Proposal], thresholds: Sequence[float], count: int, name: str
    ) -> list[Done]:
        return super()._run(proposals, thresholds, 0, name)

    @property
    def _batches(self) -> Path:
        return self.snapshots / "batches.json"

    def _ends(self) -> list[int]:
        """The numbers of trials with those of each batch so far."""
        if not self._batches.exists():
            return []
        try:
            return list(map(int, json.loads(self._batches.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"{self._batches} is damaged ({error}); delete it, only where batches end is lost"
            ) from None
