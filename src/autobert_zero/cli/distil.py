"""`distil`."""

from typing import Annotated

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.options import (
    Config,
    Corpus,
    Layers,
    ResumeTraining,
    TextColumn,
    TrainingFolder,
    TrainingPreset,
    TrainingSeed,
)
from autobert_zero.cli.pretrain import run_training
from autobert_zero.errors import UserError


@app.command("distil")
def distil_command(
    out: TrainingFolder,
    teacher: Annotated[
        str | None, typer.Option(help="Model to learn from: folder or Hub name; ours, BERT or ModernBERT.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help=BACKBONE)] = None,
    layers: Layers = None,
    preset: TrainingPreset = "demo",
    config: Config = None,
    corpus: Corpus = None,
    text_column: TextColumn = None,
    start: Annotated[
        str | None,
        typer.Option(help="Start from the weights of a model, such as the teacher, or of a search."),
    ] = None,
    seed: TrainingSeed = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, e.g. distil.hidden=1.")
    ] = None,
    resume: ResumeTraining = False,
) -> None:
    """Distil a model into a backbone: embeddings, hidden states, relations, and predictions of a teacher."""
    options = {**locals(), "tokenizer": None}
    if not resume and teacher is None:
        raise UserError("name a model to learn from with --teacher")
    run_training(options)
