"""Fine-tuning with several seeds and learning rates, kept run by run, and the table over tasks."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from transformers import PreTrainedTokenizerBase

from autobert_zero.announce import machine_line
from autobert_zero.devices import find_device
from autobert_zero.errors import UserError
from autobert_zero.files import written_whole
from autobert_zero.finetune.classification import Classification
from autobert_zero.finetune.data import load_splits
from autobert_zero.finetune.problem import Problem
from autobert_zero.finetune.squad import SQUADS, QuestionAnswering, load_questions
from autobert_zero.finetune.tasks import find_task
from autobert_zero.finetune.train import Run, Settings, finetune_once, load_config, load_tokenizer
from autobert_zero.progress import Bars

_CONTENTS = {".safetensors", ".bin", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml"}
"""Files that a result depends on."""


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


def make_problem(name: str, data: Path | None, tokenizer: PreTrainedTokenizerBase, length: int) -> Problem:
    """Finds a task and loads its data.

    Args:
        name: Of `TASKS` or `SQUADS`, or a YAML file of the user.
        data: Folder with the task's files; None: from the Hub.
        tokenizer: The model's.
        length: Most tokens of a sequence.

    Raises:
        UserError: There is no such task, or its data cannot be used.
    """
    if name in SQUADS:
        squad = SQUADS[name]
        return QuestionAnswering(squad, load_questions(squad, data), tokenizer, length)
    task = find_task(name, SQUADS)
    return Classification(task, load_splits(task, data), tokenizer, length)


def folder_of(name: str, data: Path) -> Path:
    """Where a task's files are in a folder of tasks; see `make_problem` for its name."""
    return data / name if name in SQUADS else find_task(name, SQUADS).folder(data)


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
        task: What to train on; see `make_problem`.
        data: Folder with the task's files; None: from the Hub.
        out: Where runs, scores and predictions are written.
        rates: Learning rates.
        seeds: At least one.
        settings: The rest of the recipe.
        progress: Shown each result.

    Raises:
        UserError: Model, data or folder cannot be used; nothing was trained then.
    """
    tokenizer = load_tokenizer(model)
    config = load_config(model)
    if settings.pooling is not None and not hasattr(config, "classifier_pooling"):
        raise UserError(f"{model} is not an AutoBERT-Zero: how it pools cannot be chosen")
    positions = config.max_position_embeddings
    length = min(settings.length or positions, positions)
    problem = make_problem(task, data, tokenizer, length)
    name, validation = problem.name, problem.validation[0]
    own = task if task.endswith((".yaml", ".yml")) else None
    about = {
        "model": str(model),
        "task": name,
        "settings": asdict(settings),
        "length": length,
        "contents": {"model": _contents(model), "data": _contents(data), "task": _contents(own)},
    }
    _establish(out, about)
    for line in _announcement(model, problem, rates, seeds, settings, length):
        progress.say(line)

    def run(seed: int, rate: float) -> Run:
        path = out / "runs" / f"seed{seed}-rate{rate:g}.json"
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
        with written_whole(path) as partial:
            partial.write_text(json.dumps(asdict(done)) + "\n", encoding="utf-8")
        shown = ", ".join(f"{metric} {value:.4f}" for metric, value in done.metrics[validation].items())
        progress.say(f"{name}, seed {seed}, rate {rate:g}: {shown} ({done.seconds:.0f} s)")
        return done

    def merit(done: Run) -> float:
        return done.metrics[validation][problem.metrics[0]]

    tried = {rate: run(seeds[0], rate) for rate in rates}
    rate = max(tried, key=lambda each: merit(tried[each]))
    runs = [tried[rate], *(run(seed, rate) for seed in seeds[1:])]
    score = Score(name, rate, len(runs), _over(runs, fmean), _over(runs, _spread))
    (out / "score.json").write_text(json.dumps(asdict(score), indent=2) + "\n", encoding="utf-8")
    for split, predictions in max(runs, key=merit).predictions.items():
        problem.write(out, split, predictions)
    return score


def _announcement(
    model: Path | str,
    problem: Problem,
    rates: Sequence[float],
    seeds: Sequence[int],
    settings: Settings,
    length: int,
) -> list[str]:
    """The first lines: model, data, trainings and device."""
    train = len(problem.features["train"])
    splits = ", ".join(f"{split} {len(features):,}" for split, features in problem.features.items())
    runs = len(rates) + len(seeds) - 1
    if settings.steps:
        updates = settings.steps
    else:
        updates = settings.epochs * -(-train // settings.batch_size)
    return [
        f"task {problem.name} ({splits} features of at most {length} tokens), model {model}",
        f"{runs} trainings of at most {updates:,} updates with batches of {settings.batch_size}: "
        f"{len(rates)} learning rates with the first seed, the best of them with {len(seeds) - 1} more",
        machine_line(find_device(settings.device), settings.precision),
    ]


def table(scores: Sequence[Score]) -> str:
    """The scores as a Markdown table, in points, with the average over the tasks."""
    lines = ["| task | metric | validation | seeds | rate |", "|---|---|---|---|---|"]
    for score in scores:
        for split, metrics in score.mean.items():
            kind = split.removeprefix("validation").replace("_", " ")
            for name, value in metrics.items():
                spread = score.spread[split][name]
                shown = f"{100 * value:.1f}" + (f" ± {100 * spread:.1f}" if score.seeds > 1 else "")
                lines.append(f"| {score.task}{kind} | {name} | {shown} | {score.seeds} | {score.rate:g} |")
    lines.append(f"| average of {len(scores)} | | {100 * fmean(s.average for s in scores):.1f} | | |")
    return "\n".join(lines)


def _establish(out: Path, about: dict[str, Any]) -> None:
    """Makes the folder, or checks that it is of the same fine-tuning."""
    path = out / "finetune.json"
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}); choose another --out") from None
        if before != about:
            raise UserError(
                f"{out} holds a fine-tuning with another model, other data or other settings; choose "
                "another --out"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds other files already; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}; choose another --out") from None
    with written_whole(path) as partial:
        partial.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _contents(source: Path | str | None) -> str | None:
    """A digest of the files of a model, of data or of a task; None for what is not on this disk."""
    if source is None or not Path(source).exists():
        return None
    path = Path(source)
    digest = hashlib.sha256()
    for each in sorted(path.iterdir()) if path.is_dir() else [path]:
        if each.suffix in _CONTENTS and each.is_file():
            digest.update(each.name.encode())
            with each.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


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
