"""Options that several commands take."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Model = Annotated[str, typer.Option(help="Folder of a saved or exported model, or a Hub name.")]
Results = Annotated[Path, typer.Option(help="Folder for results; the same call continues what is in it.")]
Rates = Annotated[
    str | None,
    typer.Option(help="Learning rates to try with the first seed; default: 3e-4,1e-3,3e-3."),
]
Seeds = Annotated[int | None, typer.Option(min=1, help="Number of seeds; default: 3.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Maximum passes over the training data; default: 3.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Sequences in a batch; default: 32.")]
Length = Annotated[
    int | None,
    typer.Option(min=8, help="Maximum tokens of a sequence; else 128, or the model's positions where fewer."),
]
Pooling = Annotated[
    Literal["auto", "cls", "mean", "cls+mean"] | None,
    typer.Option(
        help="Classifier input: first token, mean of tokens, both, or the best of them on validation (auto); "
        "default: as stored in the model."
    ),
]
Keep = Annotated[
    Literal["none", "best", "all"] | None,
    typer.Option(help="Weights to keep: of the best training, of all trainings, or none; default: best."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Hardware = Annotated[
    str | None,
    typer.Option(help="t4, v100, rtx3090, rtx4090, a100 or h100; default: measure a few steps here."),
]
Devices = Annotated[int, typer.Option(min=1, help="Number of devices that share the work.")]
Layers = Annotated[
    int | None, typer.Option(min=1, help="Number of layers of a named stack (bert, rotary, ...); default: 4.")
]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings, over the preset.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any setting, as key=value.")]
TrainingFolder = Annotated[
    Path, typer.Option(help="Folder; new, or with --resume one of an earlier training.")
]
TrainingPreset = Annotated[str, typer.Option(help="demo, small or base.")]
TrainingSeed = Annotated[
    int | None, typer.Option(help="Random seed; same config and seed give the same model.")
]
ResumeTraining = Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")]
Corpus = Annotated[
    list[str] | None,
    typer.Option(help="kjv, a file, a folder, or a dataset on the Hub; can be given several times."),
]
TextColumn = Annotated[
    str | None, typer.Option(help="Column of tables and records that is the text; else guessed.")
]
