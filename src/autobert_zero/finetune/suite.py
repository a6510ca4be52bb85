"""Fine-tuning with several seeds, learning rates and poolings, kept run by run."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import AutoConfig, PreTrainedTokenizerBase

from autobert_zero.announce import machine_line
from autobert_zero.devices import find_device
from autobert_zero.errors import UserError, counted
from autobert_zero.files import write_text
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.kinds import MakeProblem, find_task, is_task_file, load_problem
from autobert_zero.finetune.models import Pretrained, open_model
from autobert_zero.finetune.problem import Problem
from autobert_zero.finetune.results.card import Tuned, finetuned_model_card
from autobert_zero.finetune.results.scores import Divergence, Score, score_table, trivial_line
from autobert_zero.finetune.results.summary import metrics_on_test, summarise, trivial_scores
from autobert_zero.finetune.splits import recording_files
from autobert_zero.finetune.training.folder import (
    FinetuneSetup,
    check_output_folder,
    content_digest,
    open_folder,
)
from autobert_zero.finetune.training.sweep import Sweep, poolings_of, trainings
from autobert_zero.progress import Bars
from autobert_zero.run_folder import Input
from autobert_zero.run_folder.digests import digest_of
from autobert_zero.run_folder.names import MODEL_CARD, SCORE, TRIVIAL


class AllDivergedError(UserError):
    """The trainings of a task diverged with every learning rate, so that it has no score."""


@dataclass(frozen=True)
class LoadedTask:
    """A task with its data, checked but not tokenised.

    Attributes:
        name: Name of the task.
        inputs: Inputs of its results, for the record of a run.
        problem: Makes the problem for a tokenizer and a length.
        dataset: Name of its data on the Hub; None for local files.
    """

    name: str
    inputs: Mapping[str, Input]
    problem: MakeProblem
    dataset: str | None = None


def load_task(name: str, data: Path | None) -> LoadedTask:
    """Finds a task and reads its data.

    Args:
        name: Name of a built-in task, or a user's YAML file; see `KINDS`.
        data: Folder with the task's files; None for the Hub.

    Raises:
        UserError: There is no such task, or its data cannot be used.
    """
    with recording_files() as files:
        task, problem = load_problem(name, data)
    inputs = {} if data is None else {"data": Input(digest_of(files), str(data))}
    if is_task_file(name) and (digest := content_digest(Path(name))) is not None:
        inputs["task"] = Input(digest, name)
    hub = getattr(find_task(name), "hub", None) if data is None else None  # a name, or a name and a part
    return LoadedTask(task, inputs, problem, hub[0] if isinstance(hub, tuple) else hub)


def make_problem(name: str, data: Path | None, tokenizer: PreTrainedTokenizerBase, length: int) -> Problem:
    """Loads a task, see `load_task`, for a tokenizer and sequences of at most `length` tokens."""
    return load_task(name, data).problem(tokenizer, length)


def finetune_task(
    model: Path | str,
    task: str,
    data: Path | None,
    out: Path,
    settings: FinetuneConfig,
    progress: Bars,
) -> Score:
    """Tries the rates, then the poolings at the best rate, then the best combination with the other seeds.

    Runs that are in the folder already are read, not repeated, so that the same call continues an interrupted
    one.

    Args:
        model: Folder of a saved or exported model, or a name on the Hub.
        task: The task; see `load_task`.
        data: Folder with the task's files; None for the Hub.
        out: Folder for runs, scores and predictions.
        settings: How to fine-tune, with rates and seeds.
        progress: Shows each result.

    Raises:
        AllDivergedError: The trainings with all rates diverged.
        UserError: Model, data or folder cannot be used; nothing was trained then.
    """
    loaded = [(load_task(task, data), out)]
    scores, failed = finetune_all(open_model(str(model)), loaded, settings, progress)
    if failed:
        raise failed[0]
    return scores[0]


def finetune_all(
    model: Pretrained,
    tasks: Sequence[tuple[LoadedTask, Path]],
    settings: FinetuneConfig,
    progress: Bars,
) -> tuple[list[Score], list[AllDivergedError]]:
    """Fine-tunes on several tasks, each with its folder; all are checked before the first is trained.

    Returns:
        The scores, and the errors of tasks that have none because every rate diverged.

    Raises:
        UserError: Model, data or a folder cannot be used; nothing was trained then.
    """
    length = model.length(settings.length)
    model.changes(model.poolings(settings.pooling)[0])
    settings = settings.resolved().model_copy(update={"length": length})
    for task, out in tasks:
        check_output_folder(out, _start(model, task, settings))
    if len(tasks) > 1:
        for task, _ in tasks:  # each again before it is trained: all at once would fill the memory
            problem = task.problem(model.tokenizer, length)
            poolings_of(model, problem, settings)
            problem.load(model.source, **model.changes(None))
    scores, failed = [], []
    for task, out in tasks:
        try:
            scores.append(_finetune(model, task, out, settings, progress))
        except AllDivergedError as error:
            if len(tasks) > 1:
                progress.say(str(error))
            failed.append(error)
    return scores, failed


def _start(model: Pretrained, task: LoadedTask, settings: FinetuneConfig) -> FinetuneSetup:
    return FinetuneSetup(
        settings.model_dump(mode="json") | {"task": task.name}, {"model": model.identity, **task.inputs}
    )


def _finetune(
    model: Pretrained,
    task: LoadedTask,
    out: Path,
    settings: FinetuneConfig,
    progress: Bars,
) -> Score:
    problem = task.problem(model.tokenizer, model.length(settings.length))
    poolings = poolings_of(model, problem, settings)
    sweep = Sweep(model, problem, settings, poolings[0], out, progress)
    with open_folder(out, _start(model, task, settings), progress.say):
        for line in _first_lines(model, problem, settings):
            progress.say(line)
        trivial = trivial_scores(problem, task.inputs, out / TRIVIAL)
        first = trivial[problem.validation[0]]
        if first:
            metric = problem.metrics[0]
            progress.say(f"trivial on {problem.validation[0]}, {metric}: {trivial_line(first, metric)}")
        tried = [sweep.run(settings.seed, rate, poolings[0]) for rate in settings.rates]
        if all(run.diverged for run in tried):
            reasons = "; ".join(f"rate {run.rate:g}: {run.diverged}" for run in tried)
            raise AllDivergedError(
                f"task {task.name}, seed {settings.seed}: the training diverged ({reasons}); choose a lower "
                f"rate. The weights before that step are in {out / 'diverged'}"
            )
        rate = max(tried, key=sweep.merit).rate
        tried += [sweep.run(settings.seed, rate, pooling) for pooling in poolings[1:]]
        chosen = max(tried, key=sweep.merit)
        seeds = range(settings.seed + 1, settings.seed + settings.seeds)
        others = [sweep.run(seed, rate, chosen.pooling) for seed in seeds]
        runs, best = sweep.keep_best([chosen, *(run for run in others if not run.diverged)])
        pooling = model.pooling(chosen.pooling) if problem.pooled else None
        diverged = Counter((run.rate, run.pooling) for run in (*tried, *others) if run.diverged)
        left_out = [Divergence(*which, seeds=count) for which, count in diverged.items()]
        score = summarise(problem, runs, best, trivial, pooling, left_out)
        if settings.keep != "none":
            tuned = Tuned(
                name=out.resolve().name,
                task=task.name,
                dataset=task.dataset,
                seed=best.seed,
                rate=best.rate,
                metrics={**best.metrics, **metrics_on_test(problem, best)},
                table=score_table([score]),
                train_examples=len(problem.features["train"]),
            )
            config = AutoConfig.from_pretrained(out, trust_remote_code=False)
            write_text(out / MODEL_CARD, finetuned_model_card(tuned, model, config, settings))
        write_text(out / SCORE, json.dumps(asdict(score), indent=2) + "\n")
        for split, predictions in best.predictions.items():
            problem.write(out, split, predictions)
    return score


def _first_lines(model: Pretrained, problem: Problem, settings: FinetuneConfig) -> list[str]:
    """The first lines: model, data, trainings and device."""
    train = len(problem.features["train"])
    splits = ", ".join(f"{split} {len(features):,}" for split, features in problem.features.items())
    cut = f", of which {problem.cut:,} are longer and cut" if problem.cut else ""
    poolings = poolings_of(model, problem, settings)
    notes = [*problem.notes]
    if settings.pooling == "auto" and not problem.pooled:
        notes.append(f"pooling auto: the model of task {problem.name} does not pool, so nothing is chosen")
    runs = trainings(settings, len(poolings))
    others = f", poolings {', '.join(map(str, poolings[1:]))} at the best of them" if poolings[1:] else ""
    more = counted(settings.seeds - 1, "more seed")
    repeated = f", the best of {'all' if others else 'them'} with {more}" if settings.seeds > 1 else ""
    return [
        f"task {problem.name} ({splits} features of at most {settings.length} tokens{cut}), "
        f"model {model.source}",
        *notes,
        f"{counted(runs, 'training')} of at most {counted(settings.updates(train), 'update')} "
        f"with batches of {settings.batch_size}: {counted(len(settings.rates), 'learning rate')} "
        f"with the first seed{others}{repeated}",
        machine_line(find_device(settings.device), settings.precision),
    ]
