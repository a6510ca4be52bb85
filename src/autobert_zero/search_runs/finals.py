"""Trains the models of the comparison at the end of a search, and keeps the results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.run_folder.names import FINALS, SPEEDS, WEIGHTS
from autobert_zero.search.board import Board
from autobert_zero.search.comparison import Model, Training, compare_models
from autobert_zero.search.config import SEEDS
from autobert_zero.search.finalists import screen
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.trial import Trial
from autobert_zero.search_runs.executor import Executor
from autobert_zero.search_runs.jobs import job_of, models_at_once
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.training.scratch import JobResult, read_result
from autobert_zero.zoo import opponents


class Finals:
    """Trains models from scratch; results that are already in the folder are read, not repeated.

    Args:
        prepared: The prepared run.
        out: The run folder.
        progress: Shows the progress.
        executor: Trains the models.
        workers: Number of models trained at once, see `models_at_once`.

    Raises:
        UserError: A result or the file of speeds is damaged.
    """

    def __init__(
        self, prepared: PreparedSearch, out: Path, progress: RunProgress, executor: Executor, workers: int = 0
    ) -> None:
        self._prepared = prepared
        self._executor = executor
        self._workers = workers
        self._folder = out / FINALS
        self._speeds_file = out / SPEEDS
        self._weights = out / WEIGHTS
        self._progress = progress
        self._board: Board | None = None
        self._first: dict[tuple[object, ...], str] = {}  # name of the first of equal trainings
        self._results = {path.stem: read_result(path) for path in sorted(self._folder.glob("*.json"))}
        self._speeds: dict[str, float] = {}
        if self._speeds_file.exists():
            try:
                self._speeds = dict(json.loads(self._speeds_file.read_text("utf-8")))
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{self._speeds_file} is damaged ({error}); delete it to measure again"
                ) from None

    def log(self, board: Board | None) -> None:
        """Writes the results so far, and later ones, into TensorBoard's logs."""
        self._board = board
        for result in self._results.values():
            self._write(result)

    def _write(self, result: JobResult) -> None:
        if self._board is not None:
            self._board.write_final(result.name, result.curve, result.val_loss)

    def run(self, trials: Sequence[Trial]) -> dict[str, Any]:
        """Screens the best candidates, then trains the winner alongside its opponents.

        Returns:
            The comparison, see `search.comparison.compare_models`, and the screening.

        Raises:
            UserError: No candidate was scored, or every finalist diverged.
        """
        config, prepared = self._prepared.config, self._prepared
        screening_seed = config.seed + SEEDS
        winner, screening = screen(
            trials, config.proxy, config.final, prepared.model, screening_seed, self.train
        )
        models = {"best": Model(winner.proposal.backbone, prepared.model)}
        for name, opponent in opponents(prepared.space).items():
            sizes = config.model.model_copy(update=dict(opponent.trunk))
            models[name] = Model(
                opponent.build(config.model.layers),
                sizes.encoder_config(prepared.vocabulary.size, config.data.length),
            )
        summary = compare_models(
            models,
            config.final,
            config.seed,
            screening_seed,
            config.data.length,
            self.train,
            self.speed,
        )
        summary["best"]["trial"] = winner.proposal.number
        summary["screening"] = screening
        return summary

    def train(self, trainings: Sequence[Training]) -> dict[str, JobResult]:
        """Trains the models whose results are not in the folder yet, equal trainings once; results by name.

        A finalist of the screening that is also an opponent, or the winner, is thus not trained again to try
        the rate of the screening.
        """
        first = {
            training.name: self._first.setdefault(training.identity, training.name) for training in trainings
        }
        jobs = [
            job_of(self._prepared, training, self._weights)
            for training in trainings
            if first[training.name] == training.name and training.name not in self._results
        ]

        def keep(result: JobResult) -> None:
            content = result.to_dict() | {"curve": result.curve}
            write_text(self._folder / f"{result.name}.json", json.dumps(content, indent=2) + "\n")
            self._results[result.name] = result
            self._write(result)
            loss = result.reason if result.val_loss is None else f"held-out loss {result.val_loss:.4f}"
            self._progress.say(f"{result.name}: {loss}")

        if jobs:
            workers = models_at_once(self._prepared, self._workers)
            self._executor.train(jobs, workers, self._progress.update, keep)
        return {name: self._results[trained] for name, trained in first.items()}

    def speed(self, name: str, model: Model) -> float:
        """Tokens per second that a model trains at alone; measured once."""
        if name not in self._speeds:
            self._speeds[name] = self._executor.speed(self._prepared, model.backbone, model.sizes)
            write_text(self._speeds_file, json.dumps(self._speeds, indent=2) + "\n")
        return self._speeds[name]
