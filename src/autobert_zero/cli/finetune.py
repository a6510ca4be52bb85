"""`finetune` and `glue`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from autobert_zero.cli.app import TRAINING, Result, call_continues, command
from autobert_zero.cli.common import given, parse_rates, settings_of
from autobert_zero.cli.options import (
    Config,
    DeviceSetting,
    Epochs,
    FirstSeed,
    KeptWeights,
    LearningRates,
    Length,
    ModelSource,
    Pooling,
    ResultsFolder,
    Seeds,
    TuningBatchSize,
    TuningSet,
)
from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.files import write_text
from autobert_zero.progress import Bars, log_console, quiet_transformers

if TYPE_CHECKING:
    from autobert_zero.finetune.config import FinetuneConfig


@command(TRAINING, stopped=call_continues)
def finetune_command(
    model: ModelSource,
    task: Annotated[
        list[str],
        typer.Option(
            help="A GLUE task, squad, squad_v2, wnut17, conll2003, or a YAML file of your own; can be given "
            "several times."
        ),
    ],
    out: ResultsFolder,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the task's files, for several tasks with one sub-folder per task; else the Hub."
        ),
    ] = None,
    config: Config = None,
    set_: TuningSet = None,
    seed: FirstSeed = None,
    seeds: Seeds = None,
    device: DeviceSetting = None,
    rates: LearningRates = None,
    epochs: Epochs = None,
    batch_size: TuningBatchSize = None,
    length: Length = None,
    pooling: Pooling = None,
    keep: KeptWeights = None,
) -> Result:
    """Fine-tune a model on a task, with several learning rates and seeds."""
    options = locals()
    require("finetune", "finetune")
    return _run_tasks(options, task_folders(task, data, nested=len(task) > 1), nested=len(task) > 1)


@command(TRAINING, stopped=call_continues)
def glue_command(
    model: ModelSource,
    out: ResultsFolder,
    data: Annotated[
        Path | None, typer.Option(help="Folder with one sub-folder per task; default: download from the Hub.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Comma-separated task names; default: every task found.")
    ] = None,
    config: Config = None,
    set_: TuningSet = None,
    seed: FirstSeed = None,
    seeds: Seeds = None,
    device: DeviceSetting = None,
    rates: LearningRates = None,
    epochs: Epochs = None,
    batch_size: TuningBatchSize = None,
    length: Length = None,
    pooling: Pooling = None,
    keep: KeptWeights = None,
) -> Result:
    """Fine-tune a model on every available GLUE task, and print the table with the average."""
    options = locals()
    require("glue", "finetune")
    return _run_tasks(options, task_folders(glue_tasks(tasks, data), data, nested=True), nested=True)


def _run_tasks(options: Mapping[str, Any], folders: "Mapping[str, TaskFolder]", nested: bool) -> Result:
    """Fine-tunes on tasks; if `nested`, each has a sub-folder of `--out`."""
    quiet_transformers()
    from autobert_zero.finetune.models import open_model
    from autobert_zero.finetune.results.scores import score_table
    from autobert_zero.finetune.suite import finetune_all, load_task
    from autobert_zero.run_folder.names import SCORE_TABLE

    settings = finetune_settings(options)
    out: Path = options["out"]
    with Bars(log_console()) as progress:
        opened = open_model(options["model"])
        # All tasks are read and checked before the first is trained, since the last may be broken.
        loaded = [
            (load_task(name, folder.data), out / folder.task if nested else out)
            for name, folder in folders.items()
        ]
        scores, failed = finetune_all(opened, loaded, settings, progress)

    def fail() -> None:
        if failed:
            raise UserError("; ".join(map(str, failed)))

    if not scores:
        fail()
    text = score_table(scores)
    if nested:
        write_text(out / SCORE_TABLE, text + "\n")
    tasks = [{**asdict(score), "average": score.average} for score in scores]
    return Result(f"\n{text}", {"out": out, "tasks": tasks}, fail)


class TaskFolder(NamedTuple):
    """The name of a task, and the folder of its data; None stands for the Hub."""

    task: str
    data: Path | None


def task_folders(names: Sequence[str], data: Path | None, nested: bool) -> dict[str, TaskFolder]:
    """Finds tasks, each with the folder of its data.

    Args:
        names: Names as the user wrote them.
        data: The folder of --data.
        nested: Whether each task has a sub-folder in it.

    Raises:
        UserError: A task is unknown, or two have the same name.
    """
    from autobert_zero.finetune.kinds import find_task

    tasks = {name: find_task(name) for name in names}
    twice = [task.name for task in tasks.values()] if len(tasks) == len(names) else list(names)
    if len(set(twice)) < len(twice):
        raise UserError(f"two tasks have one name: {', '.join(sorted(twice))}")
    return {
        name: TaskFolder(task.name, task.folder(data) if nested and data is not None else data)
        for name, task in tasks.items()
    }


def glue_tasks(tasks: str | None, data: Path | None) -> list[str]:
    """The tasks of `glue`: the named ones, or all of GLUE with a sub-folder of the data.

    Raises:
        UserError: There are none, or a name is empty.
    """
    from autobert_zero.finetune.texts.glue import TASKS

    if tasks is not None:
        names = [name.strip() for name in tasks.split(",")]
        if "" in names:
            raise UserError(f"--tasks must be names separated by commas, not {tasks!r}")
        return names
    present = [name for name, task in TASKS.items() if data is None or task.folder(data).is_dir()]
    if not present:
        raise UserError(f"{data} has no folder of a GLUE task; there are {', '.join(TASKS)}")
    return present


def finetune_settings(options: Mapping[str, Any]) -> "FinetuneConfig":
    """The settings of a fine-tuning."""
    from autobert_zero.finetune.config import FinetuneConfig
    from autobert_zero.settings import resolve

    own = given(options, "seed", "seeds", "epochs", "batch_size", "length", "device", "pooling", "keep")
    if options["rates"] is not None:
        own["rates"] = parse_rates(options["rates"])
    return resolve(FinetuneConfig(), settings_of(FinetuneConfig, options["config"], options["set_"], own))
