"""`report`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import SEARCHING, Result, command
from autobert_zero.cli.options import file_option
from autobert_zero.streams import STANDARD_STREAM


@command(SEARCHING)
def report_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of searches or of pre-trainings, finished or not.")
    ],
    out: Annotated[Path, file_option("The HTML file to write; - for standard output.")] = Path("report.html"),
) -> Result | None:
    """Show or compare searches, or pre-trainings, as one HTML file that opens offline."""
    from autobert_zero.report.page import read_page, write_report

    if str(out) == STANDARD_STREAM:
        sys.stdout.write(read_page(runs))
        return None
    written = write_report(runs, out)
    size = written.stat().st_size
    return Result(f"{written}: {size / 1e6:.1f} MB; open it in a browser", {"out": written, "bytes": size})
