"""`finetune` and `glue`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.common import (
    given,
    parse_rates,
    stop_told,
)
from autobert_zero.cli.options import (
    BatchSize,
    Config,
    Epochs,
    Keep,
    Length,
    Model,
    Pooling,
    Rates,
    Results,
    Seeds,
    Set,
)
from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.files import write_text
from autobert_zero.progress import Bars, log_console, quiet_transformers

if TYPE_CHECKING:
    from autobert_zero.finetune.config import Settings

_Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...; default: auto.")]


@app.command()
def finetune(
    model: Model,
    task: Annotated[str, typer.Option(help="A GLUE task, squad, squad_v2, or a YAML file of your own.")],
    out: Results,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the task's files; else from the Hub.")
    ] = None,
    rates: Rates = "3e-4,1e-3,3e-3",
    seeds: Seeds = 3,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    length: Length = None,
    device: _Device = None,
    pooling: Pooling = None,
    keep: Keep = None,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Fine-tune a model on a task, with several learning rates and seeds."""
    options = locals()
    require("finetune", "finetune")
    quiet_transformers()
    from autobert_zero.finetune.scores import table
    from autobert_zero.finetune.suite import finetune as run

    settings = finetune_settings(options)
    with stop_told(lambda: "the same call continues"), Bars(log_console()) as progress:
        score = run(model, task, data, out, parse_rates(rates), range(seeds), settings, progress)
    typer.echo("\n" + table([score]))


@app.command()
def glue(
    model: Model,
    out: Results,
    data: Annotated[
        Path | None, typer.Option(help="Folder with one sub-folder per task; default: download from the Hub.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Comma-separated task names; default: every task found.")
    ] = None,
    rates: Rates = "3e-4,1e-3,3e-3",
    seeds: Seeds = 3,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    length: Length = None,
    device: _Device = None,
    pooling: Pooling = None,
    keep: Keep = None,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Fine-tune a model on every GLUE task that there is, and print the table with the average."""
    options = locals()
    require("glue", "finetune")
    quiet_transformers()
    from autobert_zero.finetune.kinds import find_task
    from autobert_zero.finetune.models import open_model
    from autobert_zero.finetune.scores import table
    from autobert_zero.finetune.suite import finetune_all as run
    from autobert_zero.finetune.suite import load_task
    from autobert_zero.finetune.tasks import TASKS

    chosen = [name.strip() for name in tasks.split(",")] if tasks else list(TASKS)
    found = {name: find_task(name) for name in chosen}  # before anything is trained
    if data is not None and not tasks:
        found = {name: task for name, task in found.items() if task.folder(data).is_dir()}
    if not found:
        raise UserError(f"{data} has no folder of a GLUE task; there are {', '.join(TASKS)}")
    settings = finetune_settings(options)
    twice = [task.name for task in found.values()]
    if len(set(twice)) < len(twice):
        raise UserError(f"two tasks have one name: {', '.join(sorted(twice))}")
    tried = parse_rates(rates)
    with stop_told(lambda: "the same call continues"), Bars(log_console()) as progress:
        opened = open_model(model)
        # All are read and checked before anything is trained: the last may be the broken one.
        loaded = [
            (load_task(name, None if data is None else task.folder(data)), out / task.name)
            for name, task in found.items()
        ]
        scores = run(opened, loaded, tried, range(seeds), settings, progress)
    text = table(scores)
    write_text(out / "table.md", text + "\n")
    typer.echo("\n" + text)


def finetune_settings(options: Mapping[str, Any]) -> "Settings":
    """The settings: the defaults, then the file's, then those with options of their own, then those of --set.

    Args:
        options: Those of the command, by name.
    """
    from autobert_zero.config import parse_setting, read_yaml, resolve
    from autobert_zero.finetune.config import Settings

    return resolve(
        Settings(),
        read_yaml(options["config"]) if options["config"] else {},
        given(options, "epochs", "batch_size", "length", "device", "pooling", "keep"),
        *map(parse_setting, options["set_"] or []),
    )
