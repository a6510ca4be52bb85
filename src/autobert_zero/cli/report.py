"""`report`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import SEARCH, STDIN, Result, command
from autobert_zero.cli.options import file_option


@command(SEARCH)
def report_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of searches or of pre-trainings, finished or not.")
    ],
    out: Annotated[Path, file_option("The HTML file to write; - for standard output.")] = Path("report.html"),
) -> Result | None:
    """Show or compare searches, or pre-trainings, as one HTML file that opens offline."""
    from autobert_zero.report.page import read_page, write_report

    if str(out) == STDIN:
        sys.stdout.write(read_page(runs))
        return None
    written = write_report(runs, out)
    size = written.stat().st_size
    return Result(f"{written}: {size / 1e6:.1f} MB; open it in a browser", {"out": written, "bytes": size})
