"""A whole run: data, search, comparison, and the folder that holds them."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autobert_zero.files import write_text
from autobert_zero.provenance import versions
from autobert_zero.run_folder import SEARCH, holds_run, open_run
from autobert_zero.run_folder.names import BANK, BEST, LATENCIES, LEADERBOARD, TIMES, WIDTHS
from autobert_zero.search.board import open_board
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.loop import Search
from autobert_zero.search.outputs import write_backbone, write_leaderboard, write_summary
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.strategies import check_strategy, foreign_operations, make_strategy
from autobert_zero.search.trial import Trial
from autobert_zero.search_runs.clock import Clock
from autobert_zero.search_runs.executors import make_executor
from autobert_zero.search_runs.finals import Finals
from autobert_zero.search_runs.folder import (
    check_same,
    history_of,
    prepared_run,
    run_inputs,
    write_start_files,
)
from autobert_zero.search_runs.latency import LatencyTable
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.student_evaluator import StudentEvaluator
from autobert_zero.search_runs.student_finals import StudentFinals
from autobert_zero.search_runs.student_widths import Width, choose_width
from autobert_zero.search_runs.training_evaluator import TrainingEvaluator
from autobert_zero.search_runs.twins import function_of
from autobert_zero.space import Backbone, check_head_dim


def run_search(
    config: SearchConfig,
    out: Path,
    progress: RunProgress,
    first: Sequence[Backbone] = (),
    workers: int = 0,
    ray: str | None = None,
) -> dict[str, Any]:
    """Starts a run, or continues the one in `out`.

    Args:
        config: Config of the search.
        out: Folder of the run: new, empty, or with a run of the same config.
        progress: Shows the progress.
        first: Backbones of the user, proposed before any other; a continued run has its own.
        workers: Number of processes that train models, 0: one per core; changes the time, not the result.
        ray: Address of a Ray cluster that does all the training instead.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        UserError: The corpus, the device, a seed backbone or the folder cannot be used; the folder is as it
            was then.
        KeyboardInterrupt: Stopped by the user; the folder can be resumed.
    """
    start = time.perf_counter()
    resumed, widths = holds_run(out, SEARCH), list[Width]()
    remote = ray is not None
    if resumed:
        first = check_same(config, first, out)
        prepared = prepared_run(out, config, progress.update, remote)
        latencies = prepared.latencies(out / LATENCIES)
    else:
        prepared, latencies, widths = _prepared_start(config, first, progress, remote)
    config, limits = prepared.config, prepared.limits(latencies)
    prepared = replace(prepared, space=prepared.within(limits))
    strategy = make_strategy(prepared.space, config.seed, config.strategy, first, limits.refusal)
    strategy.prefilter = prepared.prefilter()
    evaluator = prepared.evaluator()
    with closing(make_executor(prepared, evaluator, workers, ray)) as executor:
        # All that a damaged folder or a foreign storage can be wrong in is read before anything is written.
        finals = (
            Finals(prepared, out, progress, executor, workers)
            if prepared.start is None
            else StudentFinals(prepared, out, progress, limits, evaluator)
        )
        clock = Clock(out / TIMES, start)
        if resumed or config.storage is not None:
            history_of(out, prepared)

        def write_start() -> None:
            if latencies is not None:
                latencies.keep(out / LATENCIES)
            if widths:
                write_text(out / WIDTHS, json.dumps([asdict(width) for width in widths], indent=2) + "\n")
            write_start_files(prepared, out, first)

        with open_run(out, SEARCH, run_inputs(prepared, out, first), write_start, progress.say):
            trainer = (TrainingEvaluator if prepared.start is None else StudentEvaluator)(
                config.proxy, prepared.space, evaluator, executor, out / BANK, progress
            )
            search = Search(
                strategy,
                trainer,
                history_of(out, prepared, progress.say),
                costs=limits.costs.of,
                function=function_of,
                together=config.proxy.together,
                observer=progress,
            )
            trials = search.trials
            resuming = (
                f"resuming after {len(trials)} of {config.proxy.candidates} candidates" if trials else ""
            )
            announcement = prepared.announcement(ray, len(first))
            for line in (*announcement, foreign_operations(prepared.space, first), resuming):
                if line:
                    progress.say(line)
            board = open_board(out)
            progress.log(board)
            finals.log(board)
            try:
                with closing(trainer):
                    search.run(config.proxy.candidates)
            finally:
                clock.stop("search")
                write_leaderboard(out / LEADERBOARD, trials, prepared.model, config.data.length)
            try:
                summary = finals.run(trials)
            finally:
                clock.stop("final")
            summary |= _counts(trials) | {
                "seconds": clock.total,
                "search_seconds": clock.seconds["search"],
                "seed": config.seed,
                "versions": versions(),
            }
            write_backbone(out, BEST, Backbone.from_list(summary["best"]["backbone"]))
            write_summary(out, summary)
    return summary


def _prepared_start(
    config: SearchConfig, first: Sequence[Backbone], progress: RunProgress, remote: bool
) -> tuple[PreparedSearch, LatencyTable | None, list[Width]]:
    """Prepares a new run, and checks that it can propose what the user gave; see `run_search`."""
    check_strategy(config.bounds, config.strategy, first)
    for backbone in first:
        check_head_dim(backbone.operations, config.model.width, config.model.heads)
    prepared = prepare(config, progress.update, remote=remote)
    latencies, widths = prepared.latencies(), list[Width]()
    if config.space.narrow and prepared.start is not None:
        prepared, widths = choose_width(prepared, latencies, progress)
    prepared.limits(latencies).check(prepared.space, first)
    # Errors up to here name things as the user did.
    return replace(prepared, config=prepared.config.absolute()), latencies, widths


def _counts(trials: Sequence[Trial]) -> dict[str, Any]:
    """The numbers of trials for the summary."""
    return {
        "candidates": len(trials),
        "statuses": dict(Counter(trial.outcome.status.value for trial in trials)),
        "saved": {
            "repeats": sum(trial.proposal.repeats for trial in trials),
            "twins": sum(trial.outcome.same_as is not None for trial in trials),
        },
    }
