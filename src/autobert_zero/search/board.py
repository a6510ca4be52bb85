"""Logs the figures of a search for TensorBoard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from autobert_zero.run_folder.names import TENSORBOARD
from autobert_zero.search.trial import Status, Trial


def open_board(run: Path) -> Board | None:
    """Opens the logs of a run; None if TensorBoard is not installed."""
    return Board(run / TENSORBOARD) if find_spec("tensorboard") else None


class Board:
    """Logs of one search; the step is the number of the candidate, except in the final comparison.

    Existing logs are replaced: a continued run writes its whole history again, so there is neither a gap
    nor a duplicate, wherever the run was killed.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        # A running TensorBoard drops everything that it has read from step 0 on.
        self._events = SummaryWriter(str(folder), purge_step=0, flush_secs=10)
        self._counts: Counter[str] = Counter({status.value: 0 for status in Status})
        self._best = -float("inf")

    def write(self, trial: Trial) -> None:
        """Writes the figures of the next candidate."""
        proposal, outcome = trial.proposal, trial.outcome
        self._counts[outcome.status.value] += 1
        figures: dict[str, float] = {"seconds": outcome.seconds, "round": proposal.round}
        figures |= {f"count/{status}": count for status, count in self._counts.items()}
        figures |= {f"metrics/{name}": value for name, value in outcome.metrics.items()}
        if outcome.score is not None:
            self._best = max(self._best, outcome.score)
            figures |= {"score": outcome.score, "best": self._best}
        if trial.rescored:
            figures["rescored"] = sum(trial.rescored.values()) / len(trial.rescored)
        for name, value in figures.items():
            self._events.add_scalar(name, value, proposal.number)

    def write_final(self, name: str, curve: Sequence[Sequence[float]], loss: float | None) -> None:
        """Writes a model of the final comparison; the step is that of its training.

        Args:
            name: Name of the model.
            curve: Steps and training losses.
            loss: Held-out loss at the end; None if the training diverged.
        """
        for step, value in curve:
            self._events.add_scalar(f"final/{name}/training_loss", value, int(step))
        if curve and loss is not None:
            self._events.add_scalar(f"final/{name}/held_out_loss", loss, int(curve[-1][0]))

    def close(self) -> None:
        """Flushes and closes the logs."""
        self._events.close()
