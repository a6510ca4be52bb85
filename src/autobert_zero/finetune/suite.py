"""Fine-tuning with several seeds and learning rates, kept run by run, and the table over tasks."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from transformers import AutoConfig

from autobert_zero.data.cache import written_whole
from autobert_zero.errors import UserError
from autobert_zero.finetune.data import load_splits
from autobert_zero.finetune.submission import write_submission
from autobert_zero.finetune.tasks import Task
from autobert_zero.finetune.train import Run, Settings, finetune_once, load_tokenizer, tokenised

Say = Callable[[str], None]


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


def finetune(
    model: Path | str,
    task: Task,
    data: Path | None,
    out: Path,
    rates: Sequence[float],
    seeds: Sequence[int],
    settings: Settings,
    say: Say,
) -> Score:
    """Tries the rates with the first seed, then the best of them with the other seeds.

    A run that is in the folder already is read, not repeated, so that an interrupted call is continued by
    the same call.

    Args:
        model: A folder of a saved or exported model, or a name on the Hub.
        task: What to train on.
        data: Folder with the task's files; None: from the Hub.
        out: Where runs, scores and predictions are written.
        rates: Learning rates.
        seeds: At least one.
        settings: The rest of the recipe.
        say: Told each result.

    Raises:
        UserError: Model, data or folder cannot be used; nothing was trained then.
    """
    tokenizer = load_tokenizer(model)
    positions = AutoConfig.from_pretrained(model).max_position_embeddings
    length = min(settings.length or positions, positions)
    splits = tokenised(load_splits(task, data), tokenizer, length)
    about = {"model": str(model), "task": task.name, "settings": asdict(settings), "length": length}
    _establish(out, about)

    def run(seed: int, rate: float) -> Run:
        path = out / "runs" / f"seed{seed}-rate{rate:g}.json"
        if path.exists():
            return _read(path)
        scratch = out / "checkpoints"
        try:
            done = finetune_once(model, task, splits, tokenizer, settings, seed, rate, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        with written_whole(path) as partial:
            partial.write_text(json.dumps(asdict(done)) + "\n", encoding="utf-8")
        shown = ", ".join(f"{name} {value:.4f}" for name, value in done.metrics[task.validation[0]].items())
        say(f"{task.name}, seed {seed}, rate {rate:g}: {shown} ({done.seconds:.0f} s)")
        return done

    tried = {rate: run(seeds[0], rate) for rate in rates}
    rate = max(tried, key=lambda each: _merit(task, tried[each]))
    runs = [tried[rate], *(run(seed, rate) for seed in seeds[1:])]
    score = Score(task.name, rate, len(runs), _over(runs, fmean), _over(runs, _spread))
    (out / "score.json").write_text(json.dumps(asdict(score), indent=2) + "\n", encoding="utf-8")
    best = max(runs, key=lambda each: _merit(task, each))
    for split, values in best.predictions.items():
        write_submission(out, task, split, values)
    return score


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
        if json.loads(path.read_text(encoding="utf-8")) != about:
            raise UserError(f"{out} holds a fine-tuning with other settings; choose another --out")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds other files already; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be made: {error.strerror}; choose another --out") from None
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> Run:
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it to train it again") from None


def _merit(task: Task, run: Run) -> float:
    return run.metrics[task.validation[0]][task.metrics[0]]


def _over(runs: Sequence[Run], summary: Callable[[list[float]], float]) -> dict[str, dict[str, float]]:
    return {
        split: {name: summary([run.metrics[split][name] for run in runs]) for name in metrics}
        for split, metrics in runs[0].metrics.items()
    }


def _spread(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
