"""`draw`."""

from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.common import find_backbone


@app.command()
def draw(
    backbone: Annotated[
        str,
        typer.Argument(help="A formula, a file with one layer a line, a run folder, or a name of the zoo."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture: .svg, .png or .pdf.")],
    layers: Annotated[int | None, typer.Option(min=1, help="Depth of bert, hybrid and convolution.")] = None,
) -> None:
    """Draw a backbone: its layers, and each attention as its graph with the fused part shaded."""
    from autobert_zero.report.draw import write

    write(find_backbone(backbone, layers), out)
