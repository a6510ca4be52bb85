"""`diagnose`."""

from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import SEARCHING, Result, call_continues, command
from autobert_zero.cli.options import DeviceSetting, Workers
from autobert_zero.errors import UserError
from autobert_zero.progress import Bars, log_console


@command(SEARCHING, stopped=call_continues)
def diagnose_command(
    run: Annotated[Path, typer.Argument(help="Folder of a search, finished or not.")],
    candidates: Annotated[int, typer.Option(min=5, help="How many candidates to train from scratch.")] = 20,
    longer: Annotated[
        int, typer.Option(min=4, help="The farther horizon, as a multiple of the nearer one.")
    ] = 4,
    device: DeviceSetting = None,
    workers: Workers = 0,
) -> Result:
    """Train a sample of a run's candidates from scratch: does the ranking under weight sharing hold?"""
    from autobert_zero.run_folder import SEARCH, kind_of
    from autobert_zero.run_folder.names import DIAGNOSIS
    from autobert_zero.search_runs.diagnose import diagnosis_report, run_diagnosis

    if kind_of(run) is not SEARCH:
        raise UserError(f"{run} holds no search (no {SEARCH.marker}); name the --out of a search")
    with Bars(log_console()) as progress:
        diagnosis = run_diagnosis(run, candidates, longer, progress, device, workers)
    return Result(f"{diagnosis_report(diagnosis)}\n\nall figures are in {run / DIAGNOSIS}", diagnosis)
