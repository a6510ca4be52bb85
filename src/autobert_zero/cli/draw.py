"""`draw`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import BACKBONES, Result, command
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.backbones import find_backbone
from autobert_zero.cli.options import Layers, file_option
from autobert_zero.errors import UserError
from autobert_zero.streams import STANDARD_STREAM


@command(BACKBONES)
def draw_command(
    backbone: Annotated[str, typer.Argument(help=BACKBONE)],
    out: Annotated[
        Path | None,
        file_option("The picture: .svg, .png or .pdf; - for SVG on standard output."),
    ] = None,
    layers: Layers = None,
    artifacts: Annotated[
        int | None,
        typer.Option(min=1, help="Attach pictures of the N best candidates of a run for optuna-dashboard."),
    ] = None,
) -> Result | None:
    """Draw a backbone: its layers, and each attention as its graph with the fused part shaded."""
    if (out is None) == (artifacts is None):
        raise UserError("draw needs --out FILE for a picture, or --artifacts N for those of a run")
    if out is not None:
        from autobert_zero.report.draw import svg, write

        resolved = find_backbone(backbone, layers)
        if str(out) == STANDARD_STREAM:
            sys.stdout.write(svg(resolved))
            return None
        write(resolved, out)
        size = out.stat().st_size
        return Result(f"{out}: {size / 1e3:.0f} kB", {"out": out, "bytes": size})
    from autobert_zero.report.artifacts import attach_pictures, dashboard

    assert artifacts is not None
    new, show = attach_pictures(Path(backbone), artifacts), dashboard(Path(backbone))
    return Result(f"new pictures: {new}; see them with: {show}", {"pictures": new, "dashboard": show})
