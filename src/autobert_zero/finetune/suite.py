"""Fine-tuning with several seeds and learning rates, kept run by run, and the table over tasks."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

from transformers import PreTrainedTokenizerBase

from autobert_zero.announce import machine_line
from autobert_zero.devices import find_device
from autobert_zero.errors import UserError
from autobert_zero.files import write_text
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
    """

    task: str
    rate: float
    seeds: int
    mean: dict[str, dict[str, float]]
    spread: dict[str, dict[str, float]]

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
    """

    name: str
    inputs: Mapping[str, Input]
    problem: MakeProblem


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
    return LoadedTask(task, inputs, problem)


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
    name, validation = task.name, problem.validation[0]

    def run(seed: int, rate: float) -> Run:
        path = out / "runs" / f"seed{seed}-rate{rate!r}.json"
        if path.exists():
            return _read(path)
        done = finetune_once(
            model,
            problem,
            settings,
            seed,
            rate,
            out / "diverged",
            lambda step, of, loss: progress.update(f"{name}, seed {seed}", step, of, f"loss {loss:.3f}"),
        )
        write_text(path, json.dumps(asdict(done)) + "\n")
        shown = ", ".join(f"{metric} {value:.4f}" for metric, value in done.metrics[validation].items())
        progress.say(f"{name}, seed {seed}, rate {rate:g}: {shown} ({done.seconds:.0f} s)")
        return done

    def merit(done: Run) -> float:
        return done.metrics[validation][problem.metrics[0]]

    with open_folder(out, _start(model, task, settings), progress.say):
        for line in _announcement(model, problem, rates, seeds, settings):
            progress.say(line)
        tried = {rate: run(seeds[0], rate) for rate in rates}
        rate = max(tried, key=lambda each: merit(tried[each]))
        runs = [tried[rate], *(run(seed, rate) for seed in seeds[1:])]
        score = Score(name, rate, len(runs), _over(runs, fmean), _over(runs, _spread))
        write_text(out / "score.json", json.dumps(asdict(score), indent=2) + "\n")
        for split, predictions in max(runs, key=merit).predictions.items():
            problem.write(out, split, predictions)
    return score


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
