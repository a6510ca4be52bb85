"""Options that several commands take, each defined once."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from autobert_zero.bounds import LARGEST_SIZE, MAX_LAYERS
from autobert_zero.errors import UserError
from autobert_zero.streams import STANDARD_STREAM


def _folder(path: Path | None) -> Path | None:
    if path is not None and str(path) == STANDARD_STREAM:
        raise UserError("--out is a folder here; - stands for standard output")
    return path


def folder_option(help_: str) -> Any:
    """`--out` of a command that writes a folder."""
    return typer.Option("--out", "-o", callback=_folder, help=help_)


def file_option(help_: str) -> Any:
    """`--out` of a command that writes a file, or `-` for standard output."""
    return typer.Option("--out", "-o", help=help_)


def settings_option(command: str, example: str) -> Any:
    """`--set` of a command."""
    return typer.Option(
        "--set",
        help=f"Any setting, as key=value, e.g. {example}; `config {command} --list` lists them.",
    )


VARIABLES = {"device": "AUTOBERT_ZERO_DEVICE", "storage": "AUTOBERT_ZERO_STORAGE"}
"""Environment variables that give defaults, by the name of the setting and of the option."""

_DEVICE = typer.Option(
    envvar=VARIABLES["device"], help="auto (a GPU if there is one), cpu, cuda, cuda:1, mps."
)
Device = Annotated[str, _DEVICE]
DeviceSetting = Annotated[str | None, _DEVICE]
"""As `Device`, for commands with a config."""

Config = Annotated[
    Path | None, typer.Option(help="YAML file of settings, laid over the preset or the defaults.")
]
Seed = Annotated[int | None, typer.Option(help="Random seed; the same config and seed give the same result.")]
SearchPreset = Annotated[str, typer.Option(help="demo, small or paper.")]
TrainingPreset = Annotated[str, typer.Option(help="demo, small or base.")]

CorpusSources = Annotated[
    list[str] | None,
    typer.Option(help="kjv, a file, a folder, or a dataset on the Hub; can be given several times."),
]
TextColumn = Annotated[
    str | None, typer.Option(help="Column of tables and records that holds the text; default: guessed.")
]
TokenizerSource = Annotated[str | None, typer.Option(help="tokenizer.json, its folder, or a Hub name.")]

RunFolder = Annotated[Path, folder_option("Folder: new, or with --resume that of an earlier run.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in --out, with its config.")]
ResultsFolder = Annotated[Path, folder_option("Folder for results; the same call continues what is in it.")]

Workers = Annotated[
    int, typer.Option(min=0, help="Local processes that train models at once; 0: one per core, or per card.")
]

ModelSource = Annotated[str, typer.Option(help="Folder of a saved or exported model, or a Hub name.")]
Layers = Annotated[
    int | None,
    typer.Option(
        min=1, max=MAX_LAYERS, help="Number of layers of a named stack (bert, rotary, ...); default: 4."
    ),
]
InferencePrecision = Annotated[
    Literal["auto", "fp32", "tf32", "bf16", "fp16"],
    typer.Option(help="fp32 gives the numbers of transformers; auto: the device's fast format."),
]
BatchSize = Annotated[int, typer.Option(min=1, max=LARGEST_SIZE, help="Sequences in a batch.")]

LearningRates = Annotated[
    str | None,
    typer.Option(help="Learning rates to try with the first seed; default: 3e-4,1e-3,3e-3."),
]
Seeds = Annotated[int | None, typer.Option(min=1, help="Number of seeds, from --seed on; default: 3.")]
FirstSeed = Annotated[int | None, typer.Option(help="First random seed; default: 0.")]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, help="Maximum passes over the training data; default: 3, more for small sets."),
]
TuningBatchSize = Annotated[int | None, typer.Option(min=1, help="Sequences in a batch; default: 32.")]
Length = Annotated[
    int | None,
    typer.Option(min=8, help="Maximum tokens in a sequence; default: 128, or the model's limit if lower."),
]
Pooling = Annotated[
    Literal["auto", "cls", "mean", "cls+mean"] | None,
    typer.Option(
        help="Classifier input: first token, mean of tokens, both, or the best of them on validation (auto); "
        "default: as stored in the model."
    ),
]
KeptWeights = Annotated[
    Literal["none", "best", "all"] | None,
    typer.Option(help="Weights to keep: of the best training, of all trainings, or none; default: best."),
]
TuningSet = Annotated[list[str] | None, settings_option("finetune", "weight_decay=0.1")]

HardwareName = Annotated[
    str | None,
    typer.Option(help="t4, v100, rtx3090, rtx4090, a100 or h100; default: measure a few steps here."),
]
Devices = Annotated[int, typer.Option(min=1, help="Number of devices that share the work.")]
