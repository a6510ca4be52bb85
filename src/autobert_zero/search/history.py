"""The history of a run: an Optuna study with one writer, so that Optuna's tools open it as it is."""

import gc
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from autobert_zero.errors import UserError
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import KERNELS, Backbone, Convolution, Layer

STUDY = "autobert-zero"
_KIND = CategoricalDistribution(("attention", *(f"conv {kernel}" for kernel in KERNELS)))


class HistoryError(UserError):
    """A study that is damaged or not of a search."""


class History:
    """Trials in the order of their numbers.

    Each becomes an Optuna trial in one transaction: its score is the value, the kind of every layer is
    a parameter, and the rest are user attributes.

    Args:
        storage: Any Optuna storage URL, for example `sqlite:///run/study.db`.

    Raises:
        HistoryError: It cannot be read.
    """

    def __init__(self, storage: str) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._study = optuna.create_study(
                storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True
            )
            self._length = len(self._study.get_trials(deepcopy=False))
        except Exception as error:  # every storage has its own kinds
            cause = str(error).splitlines()[0]
            raise HistoryError(f"the study {storage} cannot be read: {cause}; start another run") from error

    def __len__(self) -> int:
        return self._length

    def append(self, trial: Trial) -> None:
        """Records a trial.

        Raises:
            ValueError: It is not the next one.
        """
        if trial.proposal.number != self._length:
            raise ValueError(
                f"trial {trial.proposal.number} follows trial {self._length - 1}: one is missing"
            )
        self._study.add_trial(_frozen(trial))
        self._length += 1

    def load(self) -> list[Trial]:
        """Reads all trials.

        Raises:
            HistoryError: The study holds trials that this package did not write.
        """
        return [_thawed(trial) for trial in self._study.get_trials(deepcopy=False)]


def read_trials(file: Path) -> list[Trial]:
    """Reads the trials of a SQLite study without writing into it, also while a search does.

    Raises:
        HistoryError: There is no study in the file, it is damaged, or another program wrote it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        # A connection of our own: a file's name in a URL of SQLAlchemy cannot hold every sign.
        address = f"{file.resolve().as_uri()}?mode=ro"
        storage = optuna.storages.RDBStorage(
            "sqlite://", engine_kwargs={"creator": lambda: sqlite3.connect(address, uri=True)}
        )
        study = optuna.load_study(study_name=STUDY, storage=storage)
        with _no_garbage_collection():
            found = study.get_trials(deepcopy=False)
    except Exception as error:  # SQLite, SQLAlchemy and Optuna have their own kinds
        raise HistoryError(f"the study {file} cannot be read: {str(error).splitlines()[0]}") from error
    return [_thawed(trial) for trial in found]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Optuna makes dozens of objects a trial, none of them garbage: looking for it doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _frozen(trial: Trial) -> FrozenTrial:
    proposal, outcome = trial.proposal, trial.outcome
    complete = outcome.status is Status.COMPLETE
    attributes: dict[str, Any] = {
        "backbone": proposal.backbone.to_list(),
        "key": proposal.backbone.key(),
        "round": proposal.round,
        "parent": proposal.parent,
        "mutations": list(proposal.mutations),
        "status": outcome.status.value,
        "reason": outcome.reason,
        "seconds": outcome.seconds,
        "metrics": dict(outcome.metrics),
        "rescored": {str(number): score for number, score in trial.rescored.items()},
    }
    now = datetime.now(tz=UTC).replace(tzinfo=None)
    frozen = optuna.trial.create_trial(
        state=TrialState.COMPLETE if complete else TrialState.FAIL,
        value=outcome.score if complete else None,
        params={f"layer {index:02}": _kind(layer) for index, layer in enumerate(proposal.backbone.layers, 1)},
        distributions={f"layer {index:02}": _KIND for index in range(1, len(proposal.backbone.layers) + 1)},
        user_attrs=json.loads(json.dumps(attributes)),
    )
    frozen.datetime_start = frozen.datetime_complete = now
    return frozen


def _thawed(frozen: FrozenTrial) -> Trial:
    attributes = frozen.user_attrs
    try:
        proposal = Proposal(
            number=frozen.number,
            backbone=Backbone.from_list(attributes["backbone"]),
            round=attributes["round"],
            parent=attributes["parent"],
            mutations=tuple(attributes["mutations"]),
        )
        outcome = Outcome(
            status=Status(attributes["status"]),
            score=frozen.value,
            reason=attributes["reason"],
            metrics=attributes["metrics"],
            seconds=attributes["seconds"],
        )
        rescored = {int(number): score for number, score in attributes["rescored"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HistoryError(
            f"trial {frozen.number} of the study was not written by a search ({error!r}); start another run"
        ) from None
    return Trial(proposal, outcome, rescored)


def _kind(layer: Layer) -> str:
    return str(layer) if isinstance(layer, Convolution) else "attention"


def newest_scores(trials: Sequence[Trial]) -> dict[int, float]:
    """The score of every completed trial, by number: the newest, where it was scored again."""
    newest: dict[int, float] = {}
    for trial in trials:
        newest.update(trial.rescored)
        if trial.outcome.status is Status.COMPLETE and trial.outcome.score is not None:
            newest[trial.proposal.number] = trial.outcome.score
    return newest


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The completed trials, the best newest score first."""
    newest = newest_scores(trials)
    return [trials[number] for number in sorted(newest, key=lambda number: (-newest[number], number))]
