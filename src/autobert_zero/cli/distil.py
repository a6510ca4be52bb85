"""`distil`."""

from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.options import Corpus, Layers, TextColumn
from autobert_zero.cli.pretrain import train
from autobert_zero.errors import UserError


@app.command()
def distil(
    out: Annotated[Path, typer.Option(help="Folder; new, or with --resume one of an earlier training.")],
    teacher: Annotated[
        str | None, typer.Option(help="Model to learn from: folder or Hub name; ours, BERT or ModernBERT.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help=BACKBONE)] = None,
    layers: Layers = None,
    preset: Annotated[str, typer.Option(help="demo, small or base.")] = "demo",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, over the preset.")] = None,
    corpus: Corpus = None,
    text_column: TextColumn = None,
    start: Annotated[
        str | None,
        typer.Option(help="Start from the weights of a model, such as the teacher, or of a search."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed; same config and seed give the same model.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, e.g. distil.hidden=1.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")] = False,
) -> None:
    """Distil a model into a backbone: embeddings, hidden states, relations, and predictions of a teacher."""
    options = {**locals(), "tokenizer": None}
    if not resume and teacher is None:
        raise UserError("name a model to learn from with --teacher")
    train(options)
