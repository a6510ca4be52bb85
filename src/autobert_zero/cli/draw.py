"""`draw`."""

from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.common import find_backbone
from autobert_zero.errors import UserError


@app.command()
def draw(
    backbone: Annotated[
        str,
        typer.Argument(help="A formula, a file with one layer a line, a run folder, or a name of the zoo."),
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture: .svg, .png or .pdf.")] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="Depth of bert, hybrid and convolution.")] = None,
    artifacts: Annotated[
        int | None,
        typer.Option(min=1, help="Of a run: attach pictures of so many candidates for optuna-dashboard."),
    ] = None,
) -> None:
    """Draw a backbone: its layers, and each attention as its graph with the fused part shaded."""
    if (out is None) == (artifacts is None):
        raise UserError("draw needs --out FILE for a picture, or --artifacts N for those of a run")
    if out is not None:
        from autobert_zero.report.draw import write

        write(find_backbone(backbone, layers), out)
    if artifacts is not None:
        from autobert_zero.report.artifacts import attach_pictures, dashboard

        new = attach_pictures(Path(backbone), artifacts)
        typer.echo(f"new pictures: {new}; see them with: {dashboard(Path(backbone))}")
