"""Fine-tuning with several seeds and learning rates, kept run by run, and the table over tasks."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.announce import machine_line
from autobert_zero.devices import find_device
from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.finetune import kept
from autobert_zero.finetune.card import Tuned, model_card
from autobert_zero.finetune.config import Settings
from autobert_zero.finetune.folder import Start, check_folder, contents, open_folder
from autobert_zero.finetune.kinds import MakeProblem, find_task, is_task_file, load_problem
from autobert_zero.finetune.models import Pretrained, open_model
from autobert_zero.finetune.problem import Problem
from autobert_zero.finetune.train import Run, finetune_once
from autobert_zero.progress import Bars
from autobert_zero.run_folder import Input


@dataclass(frozen=True)
class Score:
    """The result on a task: of all seeds, at the learning rate that did best with the first.

    Attributes:
        task: Its name.
        rate: The chosen learning rate.
        seeds: Number of seeds.
        mean: By validation split, then by metric.
        spread: Standard deviation over the seeds, likewise; 0 for one seed.
        best_seed: The seed with the best validation score; its weights are kept.
    """

    task: str
    rate: float
    seeds: int
    mean: dict[str, dict[str, float]]
    spread: dict[str, dict[str, float]]
    best_seed: int = 0

    @property
    def average(self) -> float:
        """The mean of all metrics of all splits: what a table averages (GLUE's rule for a task)."""
        return fmean(value for split in self.mean.values() for value in split.values())


@dataclass(frozen=True)
class LoadedTask:
    """A task with its data, checked but not tokenised.

    Attributes:
        name: What it is called.
        inputs: What its results depend on, for the record of a run.
        problem: Makes the problem for a tokenizer and a length.
        dataset: Name on the Hub of its data; None: local files.
    """

    name: str
    inputs: Mapping[str, Input]
    problem: MakeProblem
    dataset: str | None = None


def load_task(name: str, data: Path | None) -> LoadedTask:
    """Finds a task and reads its data.

    Args:
        name: Of a built-in task, or a YAML file of the user; see `KINDS`.
        data: Folder with the task's files; None: from the Hub.

    Raises:
        UserError: There is no such task, or its data cannot be used.
    """
    sources = {"data": data, "task": Path(name) if is_task_file(name) else None}
    inputs = {
        what: Input(digest, str(source))
        for what, source in sources.items()
        if source is not None and (digest := contents(source)) is not None
    }
    task, problem = load_problem(name, data)
    hub = getattr(find_task(name), "hub", None) if data is None else None  # a name, or a name and a part
    return LoadedTask(task, inputs, problem, hub[0] if isinstance(hub, tuple) else hub)


def make_problem(name: str, data: Path | None, tokenizer: PreTrainedTokenizerBase, length: int) -> Problem:
    """Loads a task, see `load_task`, for a tokenizer and sequences of at most `length` tokens."""
    return load_task(name, data).problem(tokenizer, length)


def folder_of(name: str, data: Path) -> Path:
    """Where a task's files are in a folder of tasks; see `make_problem` for its name."""
    return find_task(name).folder(data)


def finetune(
    model: Path | str,
    task: str,
    data: Path | None,
    out: Path,
    rates: Sequence[float],
    seeds: Sequence[int],
    settings: Settings,
    progress: Bars,
) -> Score:
    """Tries the rates with the first seed, then the best of them with the other seeds.

    A run that is in the folder already is read, not repeated, so that an interrupted call is continued by
    the same call.

    Args:
        model: A folder of a saved or exported model, or a name on the Hub.
        task: What to train on; see `load_task`.
        data: Folder with the task's files; None: from the Hub.
        out: Where runs, scores and predictions are written.
        rates: Learning rates.
        seeds: At least one.
        settings: The rest of the recipe.
        progress: Shown each result.

    Raises:
        UserError: Model, data or folder cannot be used; nothing was trained then.
    """
    loaded = [(load_task(task, data), out)]
    return finetune_all(open_model(str(model)), loaded, rates, seeds, settings, progress)[0]


def finetune_all(
    model: Pretrained,
    tasks: Sequence[tuple[LoadedTask, Path]],
    rates: Sequence[float],
    seeds: Sequence[int],
    settings: Settings,
    progress: Bars,
) -> list[Score]:
    """Fine-tunes on several tasks, each with its folder; all are checked before the first is trained.

    Raises:
        UserError: Model, data or a folder cannot be used; nothing was trained then.
    """
    length = model.length(settings.length)
    model.changes(settings.pooling)
    settings = settings.model_copy(update={"length": length})
    for task, out in tasks:
        check_folder(out, _start(model, task, settings))
    return [_finetune(model, task, out, rates, seeds, settings, progress) for task, out in tasks]


def _start(model: Pretrained, task: LoadedTask, settings: Settings) -> Start:
    return Start(
        settings.model_dump(mode="json") | {"task": task.name}, {"model": model.identity, **task.inputs}
    )


def _finetune(
    model: Pretrained,
    task: LoadedTask,
    out: Path,
    rates: Sequence[float],
    seeds: Sequence[int],
    settings: Settings,
    progress: Bars,
) -> Score:
    problem = task.problem(model.tokenizer, model.length(settings.length))
    sweep = _Sweep(model, problem, settings, out, progress)
    with open_folder(out, _start(model, task, settings), progress.say):
        for line in _announcement(model, problem, rates, seeds, settings):
            progress.say(line)
        tried = {rate: sweep.run(seeds[0], rate) for rate in rates}
        rate = max(tried, key=lambda each: sweep.merit(tried[each]))
        runs = [tried[rate], *(sweep.run(seed, rate) for seed in seeds[1:])]
        runs, best = sweep.keep_best(runs)
        score = Score(task.name, rate, len(runs), _over(runs, fmean), _over(runs, _spread), best.seed)
        if settings.keep != "none":
            tuned = Tuned(
                name=out.resolve().name,
                task=task.name,
                dataset=task.dataset,
                seed=best.seed,
                rate=best.rate,
                metrics=best.metrics,
                table=table([score]),
                train_examples=len(problem.features["train"]),
            )
            config = AutoConfig.from_pretrained(out, trust_remote_code=False)
            write_text(out / "README.md", model_card(tuned, model, config, settings))
        write_text(out / "score.json", json.dumps(asdict(score), indent=2) + "\n")
        for split, predictions in best.predictions.items():
            problem.write(out, split, predictions)
    return score


class _Sweep:
    """The trainings of a task: each is made once, and the weights that are to be kept are.

    Args:
        model: The pre-trained model.
        problem: The task.
        settings: How to train, and what to keep.
        out: The folder of all.
        progress: Shown each result.
    """

    def __init__(
        self, model: Pretrained, problem: Problem, settings: Settings, out: Path, progress: Bars
    ) -> None:
        self._model, self._problem, self._settings = model, problem, settings
        self._out, self._progress = out, progress
        self._best: Run | None = None

    def merit(self, done: Run) -> float:
        """The metric that chooses."""
        return done.metrics[self._problem.validation[0]][self._problem.metrics[0]]

    def run(self, seed: int, rate: float) -> Run:
        """The result of a training: read, or trained now. The best weights so far are kept."""
        path = self._path(seed, rate)
        file = path.with_name(f"{path.name}.json")
        done = _read(file) if file.exists() else self._train(seed, rate)
        if self._settings.keep == "all" and not self._has_weights(done):
            done = self._train_again(done)
        if self._is_best(done):
            if self._best is not None and self._settings.keep == "best":
                shutil.rmtree(self._path(self._best.seed, self._best.rate), ignore_errors=True)
            self._best = done
        return done

    def keep_best(self, runs: Sequence[Run]) -> tuple[list[Run], Run]:
        """Puts the weights of the best run into the folder of all, as the settings want it.

        Args:
            runs: Of all seeds.

        Returns:
            The runs, one of them as it was trained again if its weights were missing, and the best of them.
        """
        runs = list(runs)
        best = max(runs, key=self.merit)
        if self._settings.keep == "none":
            return runs, best
        while not self._has_weights(best):
            runs[runs.index(best)] = self._train_again(best)
            best = max(runs, key=self.merit)
        if kept.digest(self._out) != best.weights:
            kept.install(self._path(best.seed, best.rate), self._out, move=self._settings.keep == "best")
        if self._settings.keep == "best":
            for folder in (self._out / "runs").glob("seed*-rate*/"):
                shutil.rmtree(folder)
        return runs, best

    def _is_best(self, done: Run) -> bool:
        return self._best is None or self.merit(done) > self.merit(self._best)

    def _has_weights(self, done: Run) -> bool:
        places = [self._path(done.seed, done.rate)]
        if self._settings.keep != "all":
            places.append(self._out)
        return done.weights is not None and done.weights in map(kept.digest, places)

    def _train_again(self, done: Run) -> Run:
        self._progress.say(f"{self._name(done)}: its weights are not in {self._out}, so it is trained again")
        return self._train(done.seed, done.rate, again=True)

    def _train(self, seed: int, rate: float, again: bool = False) -> Run:
        """Trains; writes the weights if they are wanted, then the result."""
        path = self._path(seed, rate)
        keep = self._settings.keep

        def write_weights(done: Run, loaded: PreTrainedModel) -> Run:
            if not (keep == "all" or again or (keep == "best" and self._is_best(done))):
                return done
            length = self._settings.length or 0
            return replace(done, weights=kept.write(path, loaded, self._model.tokenizer, length))

        done = finetune_once(
            self._model,
            self._problem,
            self._settings,
            seed,
            rate,
            self._out / "diverged",
            lambda step, of, loss: self._progress.update(
                f"{self._problem.name}, seed {seed}", step, of, f"loss {loss:.3f}"
            ),
            write_weights,
        )
        write_text(path.with_name(f"{path.name}.json"), json.dumps(asdict(done)) + "\n")
        metrics = done.metrics[self._problem.validation[0]]
        shown = ", ".join(f"{metric} {value:.4f}" for metric, value in metrics.items())
        self._progress.say(f"{self._name(done)}: {shown} ({done.seconds:.0f} s)")
        return done

    def _path(self, seed: int, rate: float) -> Path:
        """The folder of a training's weights; the file of its result is `.json` beside it."""
        return self._out / "runs" / f"seed{seed}-rate{rate!r}"

    def _name(self, done: Run) -> str:
        return f"{self._problem.name}, seed {done.seed}, rate {done.rate:g}"


def _announcement(
    model: Pretrained, problem: Problem, rates: Sequence[float], seeds: Sequence[int], settings: Settings
) -> list[str]:
    """The first lines: model, data, trainings and device."""
    train = len(problem.features["train"])
    splits = ", ".join(f"{split} {len(features):,}" for split, features in problem.features.items())
    cut = f", of which {problem.cut:,} are longer and cut" if problem.cut else ""
    runs = len(rates) + len(seeds) - 1
    updates = settings.steps or settings.epochs * -(-train // settings.batch_size)
    return [
        f"task {problem.name} ({splits} features of at most {settings.length} tokens{cut}), "
        f"model {model.source}",
        *problem.notes,
        f"{runs} trainings of at most {updates:,} updates with batches of {settings.batch_size}: "
        f"{len(rates)} learning rates with the first seed, the best of them with {len(seeds) - 1} more",
        machine_line(find_device(settings.device), settings.precision),
    ]


def table(scores: Sequence[Score]) -> str:
    """The scores as a Markdown table, in points, with the average over the tasks where there are several."""
    lines = ["| task | metric | validation | seeds | rate |", "|---|---|---|---|---|"]
    for score in scores:
        for split, metrics in score.mean.items():
            kind = split.removeprefix("validation").replace("_", " ")
            for name, value in metrics.items():
                spread = score.spread[split][name]
                shown = f"{100 * value:.1f}" + (f" ± {100 * spread:.1f}" if score.seeds > 1 else "")
                lines.append(f"| {score.task}{kind} | {name} | {shown} | {score.seeds} | {score.rate:g} |")
    if len(scores) > 1:
        average = fmean(score.average for score in scores)
        lines.append(f"| average of {len(scores)} tasks | | {100 * average:.1f} | | |")
    if any(score.seeds == 1 for score in scores):
        lines += ["", "One seed: how much another seed would give is not known; do not rank models by it."]
    return "\n".join(lines)


def _read(path: Path) -> Run:
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it to train it again") from None


def _over(runs: Sequence[Run], summary: Callable[[list[float]], float]) -> dict[str, dict[str, float]]:
    return {
        split: {name: summary([run.metrics[split][name] for run in runs]) for name in metrics}
        for split, metrics in runs[0].metrics.items()
    }


def _spread(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
