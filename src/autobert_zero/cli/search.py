"""`search`."""

from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.common import (
    check_resumed,
    options_given,
    read_backbone,
    settled,
    stop_told,
)
from autobert_zero.cli.options import Corpus, TextColumn
from autobert_zero.errors import UserError
from autobert_zero.progress import log_console

_PICTURES = 10  # of the best candidates, for optuna-dashboard


@app.command()
def search(
    out: Annotated[Path, typer.Option(help="Run folder; new, or with --resume one of an earlier run.")],
    preset: Annotated[str, typer.Option(help="demo, small or paper.")] = "demo",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, over the preset.")] = None,
    corpus: Corpus = None,
    text_column: TextColumn = None,
    tokenizer: Annotated[str | None, typer.Option(help="tokenizer.json, its folder, or a Hub name.")] = None,
    seed: Annotated[int | None, typer.Option(help="The run is a function of config and seed.")] = None,
    max_params: Annotated[
        int | None, typer.Option(min=1, help="Most weights of a candidate; more are not trained.")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Most milliseconds of a candidate's layers, measured here.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, as key=value, e.g. model.width=128.")
    ] = None,
    seed_backbone: Annotated[
        list[Path] | None, typer.Option(help="File with a backbone for the first population.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that train candidates at once; see proxy.together.")
    ] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster that trains candidates; local starts one.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL of the history, for a team's server.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
) -> None:
    """Search for a backbone and compare the winner with BERT, a hybrid and convolutions only."""
    from autobert_zero.presets import PRESETS
    from autobert_zero.report.artifacts import attach_pictures
    from autobert_zero.run_folder import check_new
    from autobert_zero.search.progress import RunProgress
    from autobert_zero.search.run import read_run, run_search

    limits = {"max_params": max_params, "max_latency_ms": max_latency_ms}
    changed = [
        config,
        *(corpus or []),
        text_column,
        tokenizer,
        seed,
        storage,
        *limits.values(),
        *(set_ or []),
    ]
    changed += seed_backbone or []
    if resume:
        check_resumed(preset, changed)
        resolved, first = read_run(out)
    else:
        options = options_given("data", corpus, text_column, tokenizer, seed)
        if storage is not None:
            options["storage"] = storage
        options["limits"] = {key: value for key, value in limits.items() if value is not None}
        resolved = settled(PRESETS, preset, (), config, set_, options)
        check_new(out)
        for path in seed_backbone or []:
            if not path.exists():
                raise UserError(f"there is no file {path} for --seed-backbone")
        first = [read_backbone(str(path)) for path in seed_backbone or []]
    how = f"continue with: autobert-zero search --out {out} --resume"
    with stop_told(lambda: how), RunProgress(log_console()) as progress:
        run_search(resolved, out, progress, first, workers, ray)
    attach_pictures(out, _PICTURES)
    typer.echo((out / "summary.md").read_text(encoding="utf-8"))
    typer.echo(f"everything is in {out}; to look at it: autobert-zero report {out}")
