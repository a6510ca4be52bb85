"""A whole run: data, search, comparison, and the folder that holds them."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from autobert_zero.provenance import versions
from autobert_zero.run_folder import SEARCH, begun, open_run
from autobert_zero.run_folder.names import BANK, BEST, LATENCIES, LEADERBOARD, TIMES
from autobert_zero.search.board import open_board
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.loop import Search
from autobert_zero.search.outputs import write_backbone, write_leaderboard, write_summary
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.strategies import check_strategy, foreign_operations, make_strategy
from autobert_zero.search_runs.clock import Clock
from autobert_zero.search_runs.evaluator import TrainingEvaluator
from autobert_zero.search_runs.executors import make_executor
from autobert_zero.search_runs.finals import Finals
from autobert_zero.search_runs.folder import (
    check_same,
    history_of,
    run_inputs,
    setting_of_run,
    write_start_files,
)
from autobert_zero.search_runs.latency import LatencyTable
from autobert_zero.search_runs.prepare import prepare
from autobert_zero.search_runs.student_evaluator import StudentEvaluator
from autobert_zero.search_runs.student_finals import StudentFinals
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
    resumed = begun(out, SEARCH)
    if resumed:
        first = check_same(config, first, out)
        setting = setting_of_run(out, config, progress.update, remote=ray is not None)
    else:
        check_strategy(config.bounds, config.strategy, first)
        for backbone in first:
            check_head_dim(backbone.operations, config.model.width, config.model.heads)
        setting = prepare(config, progress.update, remote=ray is not None)
    limits = setting.limits(out / LATENCIES if resumed else None)
    if not resumed:
        limits.check(setting.space, first)
        # Errors up to here name things as the user did.
        setting = replace(setting, config=config.absolute())
    config = setting.config
    setting = replace(setting, space=setting.within(limits))
    strategy = make_strategy(setting.space, config.seed, config.strategy, first, limits.refusal)
    strategy.prefilter = setting.prefilter()
    evaluator = setting.evaluator()
    with closing(make_executor(setting, evaluator, workers, ray)) as executor:
        # All that a damaged folder or a foreign storage can be wrong in is read before anything is written.
        finals = (
            Finals(setting, out, progress, executor, workers)
            if setting.start is None
            else StudentFinals(setting, out, progress, limits, evaluator)
        )
        clock = Clock(out / TIMES, start)
        if resumed or config.storage is not None:
            history_of(out, setting)

        def write_start() -> None:
            if isinstance(limits.costs.latency, LatencyTable):
                limits.costs.latency.keep(out / LATENCIES)
            write_start_files(setting, out, first)

        with open_run(out, SEARCH, run_inputs(setting, out, first), write_start, progress.say):
            trainer = (TrainingEvaluator if setting.start is None else StudentEvaluator)(
                config.proxy, setting.space, evaluator, executor, out / BANK, progress
            )
            search = Search(
                strategy,
                trainer,
                history_of(out, setting, progress.say),
                costs=limits.costs.of,
                function=function_of,
                together=config.proxy.together,
                observer=progress,
            )
            trials = search.trials
            for line in setting.announcement(ray):
                progress.say(line)
            if foreign := foreign_operations(setting.space, first):
                progress.say(foreign)
            if trials:
                progress.say(f"resuming after {len(trials)} of {config.proxy.candidates} candidates")
            board = open_board(out)
            progress.log(board)
            finals.log(board)
            try:
                with closing(trainer):
                    search.run(config.proxy.candidates)
            finally:
                clock.stop("search")
                write_leaderboard(out / LEADERBOARD, trials, setting.model, config.data.length)
            try:
                summary = finals.run(trials)
            finally:
                clock.stop("final")
            statuses = Counter(trial.outcome.status.value for trial in trials)
            summary |= {
                "candidates": len(trials),
                "statuses": dict(statuses),
                "saved": {
                    "repeats": sum(trial.proposal.repeats for trial in trials),
                    "twins": sum(trial.outcome.same_as is not None for trial in trials),
                },
                "seconds": clock.total,
                "search_seconds": clock.seconds["search"],
                "seed": config.seed,
                "versions": versions(),
            }
            write_backbone(out, BEST, Backbone.from_list(summary["best"]["backbone"]))
            write_summary(out, summary)
    return summary
