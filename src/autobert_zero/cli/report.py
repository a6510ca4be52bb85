"""`report`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.backbones import STDIN


@app.command("report")
def report_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of searches or of pre-trainings, finished or not.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The HTML file to write; - for standard output.")
    ] = Path("report.html"),
) -> None:
    """Show one search or pre-training, or compare several, as one HTML file that opens offline."""
    from autobert_zero.report.page import read_page, write_report

    if str(out) == STDIN:
        sys.stdout.write(read_page(runs))
        return
    written = write_report(runs, out)
    typer.echo(f"{written}: {written.stat().st_size / 1e6:.1f} MB; open it in a browser")
