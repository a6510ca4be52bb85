"""`distil`."""

from typing import Annotated

import typer

from autobert_zero.cli.app import TRAINING, Result, command
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.options import (
    Config,
    CorpusSources,
    DeviceSetting,
    Layers,
    Resume,
    RunFolder,
    Seed,
    TextColumn,
    TrainingPreset,
    settings_option,
)
from autobert_zero.cli.pretrain import how_to_go_on, run_training


@command(TRAINING, stopped=how_to_go_on)
def distil_command(
    out: RunFolder,
    teacher: Annotated[
        str | None, typer.Option(help="Model to learn from: folder or Hub name; ours, BERT or ModernBERT.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help=BACKBONE)] = None,
    layers: Layers = None,
    preset: TrainingPreset = "demo",
    config: Config = None,
    set_: Annotated[list[str] | None, settings_option("pretrain", "distil.hidden=1")] = None,
    seed: Seed = None,
    device: DeviceSetting = None,
    corpus: CorpusSources = None,
    text_column: TextColumn = None,
    start: Annotated[
        str | None,
        typer.Option(help="Start from the weights of a model, such as the teacher, or of a search."),
    ] = None,
    resume: Resume = False,
) -> Result | None:
    """Distil a model into a backbone: embeddings, hidden states, relations, and predictions of a teacher."""
    return run_training("distil", {**locals(), "tokenizer": None})
