"""The trainings of a task, over learning rates, poolings and seeds, each done once and kept."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from transformers import PreTrainedModel

from autobert_zero.errors import UserError
from autobert_zero.files import read_dataclass, write_text
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.models import Pretrained
from autobert_zero.finetune.problem import Problem
from autobert_zero.finetune.training.train import FinetuneResult, finetune_once
from autobert_zero.finetune.training.weights import (
    install_weights,
    remove_trained,
    remove_weights,
    saved_weights,
    write_weights,
)
from autobert_zero.progress import Bars
from autobert_zero.run_folder.names import DIVERGED, TRAININGS


class Sweep:
    """The trainings of a task: each is done once, and weights are kept as the settings ask.

    Args:
        model: The pre-trained model.
        problem: The task.
        settings: How to train, and which weights to keep.
        usual: The default pooling, which names of trainings do not mention.
        out: Folder of all trainings.
        progress: Shows each result.
    """

    def __init__(
        self,
        model: Pretrained,
        problem: Problem,
        settings: FinetuneConfig,
        usual: str | None,
        out: Path,
        progress: Bars,
    ) -> None:
        self._model, self._problem, self._settings, self._usual = model, problem, settings, usual
        self._out, self._progress = out, progress
        self._best: FinetuneResult | None = None

    def merit(self, done: FinetuneResult) -> float:
        """The metric that chooses; minus infinity if the training diverged."""
        if done.diverged:
            return -math.inf
        return done.metrics[self._problem.validation[0]][self._problem.metrics[0]]

    def run(self, seed: int, rate: float, pooling: str | None) -> FinetuneResult:
        """Reads the result of a training, or trains now. The best weights so far are kept."""
        path = self._path(seed, rate, pooling)
        file = path.with_name(f"{path.name}.json")
        done = (
            replace(self._read(file), pooling=pooling) if file.exists() else self._train(seed, rate, pooling)
        )
        if self._settings.keep == "all" and not done.diverged and not self._has_weights(done):
            done = self._train_again(done)
        if self._is_best(done):
            if self._best is not None and self._settings.keep == "best":
                shutil.rmtree(self._path_of(self._best), ignore_errors=True)
            self._best = done
        return done

    def _read(self, file: Path) -> FinetuneResult:
        """The result of an earlier training.

        Raises:
            UserError: The file is damaged.
        """
        remedy = "delete it to train it again"
        done = read_dataclass(FinetuneResult, file, remedy)
        if done.diverged is None:
            measured = (done.metrics.get(split, {}) for split in self._problem.validation)
            if not all(set(self._problem.metrics) <= metrics.keys() for metrics in measured):
                raise UserError(f"{file} is damaged (it lacks metrics); {remedy}")
            if not set(self._problem.test) <= done.predictions.keys():
                raise UserError(f"{file} is damaged (it lacks predictions); {remedy}")
        return done

    def keep_best(self, runs: Sequence[FinetuneResult]) -> tuple[list[FinetuneResult], FinetuneResult]:
        """Moves the weights of the best run to the common folder, or removes those that are there.

        Args:
            runs: Runs of all seeds.

        Returns:
            The runs, some of them trained again if weights were missing, and the best of them.
        """
        runs = list(runs)
        best = max(runs, key=self.merit)
        if self._settings.keep == "none":
            remove_weights(self._out)
            return runs, best
        while not self._has_weights(best):
            runs[runs.index(best)] = self._train_again(best)
            best = max(runs, key=self.merit)
        if saved_weights(self._out) != best.weights:
            install_weights(self._path_of(best), self._out, move=self._settings.keep == "best")
        if self._settings.keep == "best":
            remove_trained(self._out)
        return runs, best

    def _is_best(self, done: FinetuneResult) -> bool:
        return self.merit(done) > (-math.inf if self._best is None else self.merit(self._best))

    def _has_weights(self, done: FinetuneResult) -> bool:
        places = [self._path_of(done)]
        if self._settings.keep != "all":
            places.append(self._out)
        return done.weights is not None and done.weights in map(saved_weights, places)

    def _train_again(self, done: FinetuneResult) -> FinetuneResult:
        self._progress.say(f"{self._name(done)}: its weights are not in {self._out}, so it is trained again")
        repeated = self._train(done.seed, done.rate, done.pooling, again=True)
        if repeated.diverged:
            raise UserError(f"{self._name(done)}: diverged when it was trained again; give --keep none")
        return repeated

    def _train(self, seed: int, rate: float, pooling: str | None, again: bool = False) -> FinetuneResult:
        """Trains; writes the weights if they are to be kept, then the result."""
        path = self._path(seed, rate, pooling)
        keep = self._settings.keep

        def keep_weights(done: FinetuneResult, loaded: PreTrainedModel) -> FinetuneResult:
            if not (keep == "all" or again or (keep == "best" and self._is_best(done))):
                return done
            length = self._settings.length or 0
            return replace(done, weights=write_weights(path, loaded, self._model.tokenizer, length))

        done = finetune_once(
            self._model,
            self._problem,
            self._settings.model_copy(update={"pooling": pooling}),
            seed,
            rate,
            self._out / DIVERGED,
            lambda step, total, loss: self._progress.update(
                f"{self._problem.name}, seed {seed}", step, total, f"loss {loss:.3f}"
            ),
            keep_weights,
        )
        write_text(path.with_name(f"{path.name}.json"), json.dumps(asdict(done)) + "\n")
        if done.diverged:
            self._progress.say(f"{self._name(done)}: diverged, {done.diverged} ({done.seconds:.0f} s)")
            return done
        validation = self._problem.validation[0]
        shown = ", ".join(f"{metric} {value:.4f}" for metric, value in done.metrics[validation].items())
        if validation in done.constant:
            shown += f"; it predicts {done.constant[validation]} for every example"
        self._progress.say(f"{self._name(done)}: {shown} ({done.seconds:.0f} s)")
        return done

    def _path(self, seed: int, rate: float, pooling: str | None) -> Path:
        """The folder of a training's weights; its result is the `.json` file next to it."""
        suffix = "" if pooling == self._usual else f"-{pooling}"
        return self._out / TRAININGS / f"seed{seed}-rate{rate!r}{suffix}"

    def _path_of(self, done: FinetuneResult) -> Path:
        return self._path(done.seed, done.rate, done.pooling)

    def _name(self, done: FinetuneResult) -> str:
        pooling = "" if done.pooling is None else f", pooling {done.pooling}"
        return f"{self._problem.name}, seed {done.seed}, rate {done.rate:g}{pooling}"


def poolings_of(model: Pretrained, problem: Problem, settings: FinetuneConfig) -> tuple[str | None, ...]:
    """The poolings to try, the default first; a single None if the task's model does not pool.

    Raises:
        UserError: A pooling is chosen, but the task's model does not pool.
    """
    if not problem.pooled:
        if settings.pooling not in (None, "auto"):
            raise UserError(
                f"task {problem.name} is not one of whole texts, whose pooling could be chosen; leave "
                f"pooling {settings.pooling} out"
            )
        return (None,)
    return model.poolings(settings.pooling)


def trainings(settings: FinetuneConfig, poolings: int) -> int:
    """Number of trainings on a task: all rates, the other poolings at the best rate, the other seeds."""
    return len(settings.rates) + poolings - 1 + settings.seeds - 1
