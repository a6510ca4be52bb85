"""`report`."""

from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import app


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, finished or not.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("report.html"),
) -> None:
    """Show a search, or several beside each other, as one HTML file that opens offline."""
    from autobert_zero.report.page import write_report

    written = write_report(runs, out)
    typer.echo(f"{written}: {written.stat().st_size / 1e6:.1f} MB; open it in a browser")
