"""`search`."""

from collections.abc import Mapping
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autobert_zero.cli.app import SEARCHING, Result, command
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.backbones import find_backbone
from autobert_zero.cli.common import (
    check_resumed,
    find_preset,
    given,
    how_to_resume,
    settings_given,
    settings_of,
    teacher_of,
)
from autobert_zero.cli.options import (
    VARIABLES,
    Config,
    CorpusSources,
    DeviceSetting,
    Resume,
    RunFolder,
    SearchPreset,
    Seed,
    TextColumn,
    TokenizerSource,
    Workers,
    settings_option,
)
from autobert_zero.progress import log_console

if TYPE_CHECKING:
    from autobert_zero.search.config import SearchConfig
    from autobert_zero.space import Backbone


@command(SEARCHING, stopped=lambda options: how_to_resume("search", options["out"]))
def search_command(
    out: RunFolder,
    preset: SearchPreset = "demo",
    config: Config = None,
    set_: Annotated[list[str] | None, settings_option("search", "model.width=128")] = None,
    seed: Seed = None,
    device: DeviceSetting = None,
    corpus: CorpusSources = None,
    text_column: TextColumn = None,
    tokenizer: TokenizerSource = None,
    max_params: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of parameters per candidate.")
    ] = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(help="Maximum latency of a candidate's layers in milliseconds, measured here."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Search from a model: folder or Hub name; ours, BERT or ModernBERT."),
    ] = None,
    min_speedup: Annotated[
        float | None,
        typer.Option(help="With --start: minimum speed-up of a candidate's layers over that model's."),
    ] = None,
    seed_backbone: Annotated[
        list[str] | None,
        typer.Option(help=f"A backbone for the first population; may be repeated. {BACKBONE}"),
    ] = None,
    workers: Workers = 0,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster that does the training; local starts one.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar=VARIABLES["storage"], help="Optuna storage URL of the history, for a team's server."
        ),
    ] = None,
    resume: Resume = False,
) -> Result:
    """Search for a backbone and compare the winner with stacks that people build by hand."""
    options = dict(locals())  # all options by their names
    from autobert_zero.report.artifacts import attach_pictures
    from autobert_zero.run_folder import check_new
    from autobert_zero.run_folder.names import SUMMARY_TABLE
    from autobert_zero.search.progress import RunProgress
    from autobert_zero.search_runs.run import run_search

    resolved, first = search_settings(options)
    if not resume:
        check_new(out)
    with RunProgress(log_console()) as progress:
        summary = run_search(resolved, out, progress, first, workers, ray)
    attach_pictures(out)
    text = (out / SUMMARY_TABLE).read_text(encoding="utf-8")
    closing = f"everything is in {out}; to look at it: autobert-zero report {quote(str(out))}"
    return Result(f"{text}\n{closing}", {"out": out, **summary})


def search_settings(options: Mapping[str, Any]) -> "tuple[SearchConfig, list[Backbone]]":
    """The config and the user's backbones: those of a continued run, or those of the options."""
    from autobert_zero.search.config import SearchConfig
    from autobert_zero.search.presets import PRESETS
    from autobert_zero.search_runs.folder import read_run_start
    from autobert_zero.search_runs.start_model import model_settings
    from autobert_zero.settings import resolve
    from autobert_zero.zoo import STACKS

    if options["resume"]:
        check_resumed(options)
        return read_run_start(options["out"])
    own = settings_given(options) | given(options, "storage")
    own["limits"] = given(options, "max_params", "max_latency_ms", "min_speedup")
    if options["start"] is not None:
        own["distil"] = {"teacher": options["start"]}
    base = find_preset(PRESETS, options["preset"])()
    settings = settings_of(SearchConfig, options["config"], options["set_"], own)
    teacher = teacher_of(settings)
    config = resolve(base, {} if teacher is None else model_settings(teacher), settings)
    depth = config.model.layers
    first = [
        find_backbone(source, depth if source in STACKS else None, " for --seed-backbone")
        for source in options["seed_backbone"] or []
    ]
    return config, first
