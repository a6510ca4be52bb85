"""A whole run: data, search, comparison, and the folder that holds them."""

import errno
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.minimal_pairs.data import read_pairs
from autobert_zero.provenance import versions
from autobert_zero.run_folder import (
    SEARCH,
    Input,
    RunError,
    begun,
    check_inputs,
    check_run,
    open_run,
    other_code,
    started_by_this_code,
)
from autobert_zero.run_folder.names import (
    BANK,
    BEST,
    LATENCIES,
    LEADERBOARD,
    SEED_BACKBONES,
    STUDY_FILE,
    TIMES,
    TOKENIZER,
)
from autobert_zero.search.board import open_board
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.history import History, settings_that_differ, storage_of
from autobert_zero.search.loop import Search
from autobert_zero.search.outputs import write_backbone, write_leaderboard, write_summary
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.strategies import check_strategy, foreign_operations, make_strategy
from autobert_zero.search.strategies.pareto import COSTS
from autobert_zero.search_runs.evaluator import TrainingEvaluator
from autobert_zero.search_runs.executors import make_executor
from autobert_zero.search_runs.finals import Finals
from autobert_zero.search_runs.latency import LatencyTable
from autobert_zero.search_runs.prepare import Setting, prepare
from autobert_zero.search_runs.student_evaluator import StudentEvaluator
from autobert_zero.search_runs.student_finals import StudentFinals
from autobert_zero.search_runs.twins import function_of
from autobert_zero.settings import read_yaml, saved_config
from autobert_zero.space import Backbone, check_head_dim
from autobert_zero.urls import secrets_of


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
        config: The whole config.
        out: The run folder; new or empty, or holding a run of the same config.
        progress: What the user sees.
        first: Backbones of the user, proposed before any other; a run that is continued knows its own.
        workers: Processes that train candidates at once, 0: one per core; changes the time, not the result.
        ray: Address of a Ray cluster that does all the training instead.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        UserError: The corpus, the device, a seed backbone or the folder cannot be used; the folder is as it
            was then. Or the disk is full; the run can be resumed then.
        KeyboardInterrupt: Stopped by the user; the folder can be resumed.
    """
    start = time.perf_counter()
    resumed = begun(out, SEARCH)
    if resumed:
        first = _check_same(config, first, out)
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
    setting = replace(setting, space=limits.within(setting.space))
    strategy = make_strategy(setting.space, config.seed, config.strategy, first, limits.refusal)
    strategy.prefilter = setting.prefilter()
    evaluator = setting.evaluator()
    with closing(make_executor(setting, evaluator, workers, ray)) as executor:
        # All that a damaged folder or a foreign storage can be wrong in is read before anything is written.
        finals = (
            Finals(setting, out, progress, executor)
            if setting.start is None
            else StudentFinals(setting, out, progress, limits)
        )
        clock = _Clock(out / TIMES, start)
        if resumed or config.storage is not None:
            history_of(out, setting)

        def write_start() -> None:
            if isinstance(limits.costs.latency, LatencyTable):
                limits.costs.latency.keep(out / LATENCIES)
            _write_start(setting, out, first)

        with _disk_told(), open_run(out, SEARCH, _run_inputs(setting, first), write_start, progress.say):
            search = Search(
                strategy,
                (TrainingEvaluator if setting.start is None else StudentEvaluator)(
                    config.proxy, setting.space, evaluator, executor, snapshots_of(out), progress
                ),
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


def read_run_start(out: Path) -> tuple[SearchConfig, list[Backbone]]:
    """Reads the config and the user's backbones of a run, to resume it.

    Settings that the version which started the run did not have are at their defaults, or off where it did
    not do what they ask for.

    Raises:
        UserError: There is no run in the folder, or it is damaged.
    """
    check_run(out, SEARCH)
    path = out / SEARCH.marker
    try:
        settings = read_yaml(path)
        config = saved_config(SearchConfig, settings)
        if config.model_dump(mode="json") != settings and started_by_this_code(out):
            raise RunError("a setting is missing")
    except UserError as error:
        if (other := other_code(out)) is not None:
            raise RunError(
                f"{path} was written by {other} and cannot be read by this version ({error}); continue the "
                "run with that version, or start another"
            ) from None
        raise RunError(f"{path} is damaged ({error}); start another run") from None
    try:
        path = out / SEED_BACKBONES
        first = [Backbone.from_list(layers) for layers in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}); start another run") from None
    return config, first


def setting_of_run(
    out: Path, config: SearchConfig, watch: Callable[[str, int, int], None], remote: bool = False
) -> Setting:
    """What a run that is in a folder needs, with the tokenizer that it was started with; see `prepare`.

    Raises:
        UserError: The corpus is not the one that the run was started on, or the tokenizer is damaged.
    """
    path = out / TOKENIZER
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more special
        raise RunError(f"{path} is damaged or missing ({error}); start another run") from None
    setting = prepare(config.absolute(), watch, tokenizer, remote)
    check_inputs(out, _run_inputs(setting))
    return setting


def _run_inputs(setting: Setting, first: Sequence[Backbone] | None = None) -> dict[str, Input]:
    """What a run depends on beside its config; None: the user's backbones are not known."""
    tokenizer = setting.tokenizer.to_str()
    primitives = ", ".join(setting.space.primitives)
    inputs = {
        "text": setting.corpus,
        "tokenizer": Input(_digest(tokenizer), TOKENIZER),
        # By name too: what a set of them is called may mean more in another version.
        "primitives": Input(_digest(primitives), primitives),
    }
    if setting.start is not None:
        inputs["teacher"] = setting.start.teacher.input
    if first is not None:
        name = f"{len(first)} given" if first else "none given"
        inputs["seed backbones"] = Input(_digest(_seeds_text(first)), name)
    if (data := setting.config.proxy.minimal_pairs.data) and setting.config.proxy.score == "minimal_pairs":
        pairs = [(pair.good, pair.bad, pair.paradigm) for pair in read_pairs([Path(data)])]
        inputs["minimal pairs"] = Input(_digest(json.dumps(pairs)), data)
    return inputs


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _seeds_text(first: Sequence[Backbone]) -> str:
    return json.dumps([backbone.to_list() for backbone in first])


def _check_same(config: SearchConfig, first: Sequence[Backbone], out: Path) -> Sequence[Backbone]:
    """Checks that the run in a folder is the one that is meant; returns the user's backbones of its start."""
    known, given = read_run_start(out)
    same, meant = (each.absolute().model_dump(mode="json") for each in (known, config))
    if other := settings_that_differ(same, meant):
        raise RunError(
            f"{out} holds a run with another {', '.join(other)}; a resumed run keeps its config: choose "
            "another --out"
        )
    if first and [each.key() for each in first] != [each.key() for each in given]:
        raise RunError(
            f"{out} holds a run with other seed backbones, {len(given)} of them; give none to resume it, or "
            "choose another --out"
        )
    return given


def _write_start(setting: Setting, out: Path, first: Sequence[Backbone]) -> None:
    """Writes what `read_run_start` reads, the config last: where it is, the folder is a run."""
    config = setting.config
    write_text(out / TOKENIZER, setting.tokenizer.to_str(pretty=True))
    write_text(out / SEED_BACKBONES, _seeds_text(first))
    secret = config.storage is not None and secrets_of(config.storage)
    write_text(out / SEARCH.marker, config.to_yaml(), mode=0o600 if secret else None)


@contextmanager
def _disk_told() -> Iterator[None]:
    """Turns a full disk into one line; what was written before is whole."""
    try:
        yield
    except Exception as error:  # the system, safetensors, SQLite and TensorBoard have their own kinds
        full = getattr(error, "errno", None) == errno.ENOSPC or any(
            sign in str(cause).lower()
            for cause in (error, error.__cause__)
            for sign in ("no space left", "disk is full", "disk full")
        )
        if not full:
            raise
        raise UserError(
            "the disk is full; all that was recorded is whole: make room, then continue with --resume"
        ) from error


def snapshots_of(out: Path) -> Path:
    """Folder of the shared weights."""
    return out / BANK


def identity(setting: Setting) -> dict[str, Any]:
    """What a study belongs to: the settings that its trials depend on, and the text."""
    settings = setting.config.model_dump(mode="json", exclude={"storage", "study", "final"})
    return settings | {"text": setting.corpus.identity}


def history_of(out: Path, setting: Setting, say: Callable[[str], None] = lambda line: None) -> History:
    """Opens the history, new or of the run so far.

    Raises:
        UserError: It is missing, or belongs to another run.
    """
    config, study = setting.config, out / STUDY_FILE
    begun = any(snapshots_of(out).glob("*.safetensors"))
    if begun and config.storage is None and not (study.exists() and study.stat().st_size):
        raise RunError(f"{study} is missing or empty, the run cannot be resumed; start another")
    weighed = config.strategy.objectives if config.strategy.name == "pareto" else ()
    costs = [COSTS[name] for name in weighed if name != "score"]
    history = History(storage_of(out, config), config.study, identity(setting), costs, say)
    if len(history) and not begun:
        raise RunError(
            f"the study {config.study!r} has trials, but {out} has no snapshot that belongs to them; resume "
            "the run in its own folder, or choose another name with --set study=NAME"
        )
    return history


class _Clock:
    """Adds up the time of a run over its interruptions."""

    def __init__(self, path: Path, start: float) -> None:
        self._path = path
        self._last = start
        self.seconds: dict[str, float] = {}
        if path.exists():
            try:
                self.seconds.update(json.loads(path.read_text("utf-8")))
            except (ValueError, TypeError) as error:
                raise RunError(f"{path} is damaged ({error}); delete it, only the times are lost") from None

    def stop(self, phase: str) -> None:
        """Books the time since the last call on a phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
        write_text(self._path, json.dumps(self.seconds))

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())
