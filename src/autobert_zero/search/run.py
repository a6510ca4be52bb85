"""A whole run: data, search, comparison, and the folder that holds them."""

import errno
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autobert_zero import cost
from autobert_zero.config import SearchConfig, read_yaml, resolve
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.files import written_whole
from autobert_zero.search.board import open_board
from autobert_zero.search.executors import make_executor
from autobert_zero.search.history import STUDY_FILE, History, newest_scores, ranked, storage_of
from autobert_zero.search.loop import Search
from autobert_zero.search.outputs import LEADERBOARD, write_backbone, write_leaderboard, write_summary
from autobert_zero.search.prepare import Setting, prepare, space_of
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.strategies import check_strategy, make_strategy
from autobert_zero.search.trial import Trial
from autobert_zero.search.versions import versions
from autobert_zero.space import Backbone
from autobert_zero.training.loop import Recipe
from autobert_zero.training.scratch import Job, Result, default_workers, read_result, train_all
from autobert_zero.zoo import OPPONENTS

_CONFIG = "config.yaml"
_SEEDS = "seed_backbones.json"
_SEEDS_OF_RUNS = 2**32  # config.seed is smaller
_TIMES = "times.json"
_TOKENIZER = "tokenizer.json"
_LATENCIES = "latencies.json"


class RunError(UserError):
    """A run folder that cannot be used."""


def run_search(
    config: SearchConfig,
    out: Path,
    progress: RunProgress,
    first: Sequence[Backbone] = (),
    workers: int = 1,
    ray: str | None = None,
) -> dict[str, Any]:
    """Starts a run, or continues the one in `out`.

    Args:
        config: The whole config.
        out: The run folder; new or empty, or holding a run of the same config.
        progress: What the user sees.
        first: Backbones of the user, proposed before any other.
        workers: Processes that train candidates at once; changes the time, not the result.
        ray: Address of a Ray cluster that trains them instead.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        UserError: The corpus, the device, a seed backbone or the folder cannot be used; the folder is as it
            was then. Or the disk is full; the run can be resumed then.
        KeyboardInterrupt: Stopped by the user; the folder can be resumed.
    """
    start = time.perf_counter()
    check_strategy(space_of(config), config.strategy, first)
    setting = prepare(config, progress.update)
    limits = setting.limits(out / _LATENCIES)
    strategy = make_strategy(setting.space, config.seed, config.strategy, first, limits.refusal)
    strategy.prefilter = setting.prefilter()
    evaluator = setting.evaluator()
    with closing(make_executor(config, evaluator, workers, ray)) as executor:
        # All that a damaged folder can be wrong in is read before anything is written.
        finals = _Finals(setting, out, progress)
        clock = _Clock(out / _TIMES, start)
        if (out / _CONFIG).exists():
            check_text(setting, out)
        else:
            setting.limits().check(setting.space, first)
            _establish(setting, out, first)
        with _only_writer(out), _disk_told():
            history = history_of(out, config)
            trials = history.load()
            for line in setting.announcement():
                progress.say(line)
            if trials:
                progress.say(f"resuming after {len(trials)} of {config.proxy.candidates} candidates")
            sizes, snapshots = setting.model, snapshots_of(out)
            search = Search(
                config=config,
                space=setting.space,
                strategy=strategy,
                evaluator=evaluator,
                executor=executor,
                costs=limits.costs.of,
                history=history,
                snapshots=snapshots,
                progress=progress,
                board=open_board(out),
                trials=trials,
            )
            try:
                search.run()
            finally:
                clock.stop("search")
                write_leaderboard(out / LEADERBOARD, trials, sizes, config.data.length)
            try:
                summary = _compare(finals, trials, sizes)
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
    best = Backbone.from_list(summary["best"]["backbone"])
    write_backbone(out, "best", best)
    write_summary(out, summary)
    return summary


def check_new(out: Path) -> None:
    """Checks that a folder is free for a new run.

    Raises:
        RunError: It holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "a run" if (out / _CONFIG).exists() else "other files"
        raise RunError(f"{out} holds {what} already; continue a run with --resume, or choose another --out")


def read_run(out: Path) -> tuple[SearchConfig, list[Backbone]]:
    """Reads the config and the user's backbones of a run, to resume it.

    Raises:
        UserError: There is no run in the folder, or it is damaged.
    """
    if not (out / _CONFIG).exists():
        raise RunError(f"{out} holds no run (no {_CONFIG}); start one without --resume")
    try:
        first = [Backbone.from_list(layers) for layers in json.loads((out / _SEEDS).read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{out / _SEEDS} is damaged ({error}); start another run") from None
    try:
        settings = read_yaml(out / _CONFIG)
        config = resolve(SearchConfig(), settings)
        if config.model_dump(mode="json") != settings:
            raise RunError("a setting is missing")
    except UserError as error:
        raise RunError(f"{out / _CONFIG} is damaged ({error}); start another run") from None
    return config, first


def identity(config: SearchConfig) -> dict[str, Any]:
    """What a study belongs to: the settings that its trials depend on."""
    return config.model_dump(mode="json", exclude={"storage", "study", "final"})


def _establish(setting: Setting, out: Path, first: Sequence[Backbone]) -> None:
    """Writes what `read_run` reads, the config last: where it is, the folder is a run."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} cannot be made: {error.strerror}; choose another --out") from None
    setting.tokenizer.save(str(out / _TOKENIZER))
    (out / _SEEDS).write_text(json.dumps([backbone.to_list() for backbone in first]), encoding="utf-8")
    with written_whole(out / _CONFIG) as partial:
        partial.write_text(setting.config.to_yaml(), encoding="utf-8")


def check_text(setting: Setting, out: Path) -> None:
    """Checks that a run is resumed on the text that it began with, by the tokenizer trained on it."""
    path = out / _TOKENIZER
    if not path.exists() or path.read_text(encoding="utf-8") != setting.tokenizer.to_str(pretty=True):
        raise RunError(
            f"{path} is not the tokenizer of the corpus as it is now: the corpus has changed, or the file is "
            "damaged; start another run"
        )


@contextmanager
def _only_writer(out: Path) -> Iterator[None]:
    """Keeps other processes from writing into the run."""
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise RunError(
            f"another process is writing into {out}; wait for it, or choose another --out"
        ) from None


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
    return out / "bank"


def history_of(out: Path, config: SearchConfig) -> History:
    """Opens the history, new or of the run so far.

    Raises:
        UserError: It is missing, or belongs to another run.
    """
    study = out / STUDY_FILE
    begun = any(snapshots_of(out).glob("*.safetensors"))
    if begun and config.storage is None and not (study.exists() and study.stat().st_size):
        raise RunError(f"{study} is missing or empty, the run cannot be resumed; start another")
    history = History(storage_of(out, config), config.study, identity(config))
    if len(history) and not begun:
        raise RunError(
            f"the study {config.study!r} has trials, but {out} has no snapshot that belongs to them; resume "
            "the run in its own folder, or choose another name with --set study=NAME"
        )
    return history


class _Finals:
    """Trains models from scratch; a result that is in the folder already is read, not repeated."""

    def __init__(self, setting: Setting, out: Path, progress: RunProgress) -> None:
        self.config = setting.config
        self._setting = setting
        self._folder = out / "final"
        self.weights = out / "model.safetensors"
        self._progress = progress
        self._results = {path.stem: read_result(path) for path in sorted(self._folder.glob("*.json"))}

    def train(
        self, backbones: Mapping[str, Backbone], steps: int, seed: int, weights: Path | None = None
    ) -> dict[str, Result]:
        """Trains each backbone so many steps with the same recipe, seed and batches.

        Args:
            backbones: By name; results are kept under it.
            steps: Number of updates.
            seed: Of weights and batches.
            weights: Where to save those of the first backbone.
        """
        final = self.config.final
        recipe = Recipe(steps, final.batch_size, final.learning_rate, precision=self.config.precision)
        jobs = [
            Job(
                name=name,
                backbone=backbone,
                model=self._setting.model,
                data=self._setting.data,
                vocabulary=self._setting.vocabulary,
                recipe=recipe,
                seed=seed,
                device=str(self._setting.device),
                weights=weights if name == next(iter(backbones)) else None,
                short_share=final.short_share,
                short_length=final.short_length,
            )
            for name, backbone in backbones.items()
            if name not in self._results
        ]

        def keep(result: Result) -> None:
            self._folder.mkdir(exist_ok=True)
            with written_whole(self._folder / f"{result.name}.json") as partial:
                partial.write_text(json.dumps(result.to_dict(), indent=2) + "\n", encoding="utf-8")
            self._results[result.name] = result
            loss = result.reason if result.val_loss is None else f"held-out loss {result.val_loss:.4f}"
            self._progress.say(f"{result.name}: {loss}")

        if jobs:
            workers = final.workers or default_workers(self._setting.device)
            train_all(jobs, workers, self._progress.update, keep)
        return {name: self._results[name] for name in backbones}


def _compare(finals: _Finals, trials: Sequence[Trial], sizes: EncoderConfig) -> dict[str, Any]:
    """Screens the best candidates, then trains the winner beside its opponents."""
    config = finals.config
    best = ranked(trials)[: config.final.finalists]
    if not best:
        raise RunError("no candidate completed, so there is nothing to compare; see leaderboard.csv")
    names = {f"screening-{trial.proposal.number}": trial for trial in best}
    screened = finals.train(
        {name: trial.proposal.backbone for name, trial in names.items()},
        config.final.screening_steps,
        # Another seed than the comparison's: the winner must not be the one with the luckiest start there.
        config.seed + _SEEDS_OF_RUNS,
    )
    complete = [name for name in names if screened[name].selection_loss is not None]
    if not complete:
        raise RunError("every finalist diverged when trained from scratch; lower final.learning_rate")
    winner = names[min(complete, key=lambda name: screened[name].selection_loss or 0.0)]
    backbones = {"best": winner.proposal.backbone}
    backbones |= {name: build(config.model.layers) for name, build in OPPONENTS.items()}
    results = finals.train(backbones, config.final.steps, config.seed, finals.weights)
    summary: dict[str, Any] = {
        name: {
            "backbone": backbone.to_list(),
            "parameters": cost.parameters(backbone, sizes),
            "flops": cost.flops(backbone, sizes, config.data.length),
            **results[name].to_dict(),
        }
        for name, backbone in backbones.items()
    }
    summary["best"]["trial"] = winner.proposal.number
    newest = newest_scores(trials)
    summary["screening"] = [
        {
            "trial": trial.proposal.number,
            "score": newest[trial.proposal.number],
            "status": screened[name].status,
            "selection_loss": screened[name].selection_loss,
            "backbone": trial.proposal.backbone.to_list(),
        }
        for name, trial in names.items()
    ]
    return summary


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
        with written_whole(self._path) as partial:
            partial.write_text(json.dumps(self.seconds), encoding="utf-8")

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())
