"""The history of a run: an Optuna study with one writer, which Optuna's tools open directly."""

import gc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from sqlalchemy import URL

from autobert_zero.run_folder.names import STUDY_FILE
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.optuna_trials import HistoryError, from_optuna, to_optuna
from autobert_zero.search.settings_difference import other_settings
from autobert_zero.search.storage import (
    Storage,
    StorageError,
    cause_of,
    check_room,
    open_storage,
    open_to_read,
    persistently,
    shown,
)
from autobert_zero.search.trial import Trial
from autobert_zero.urls import hide_password

STUDY = "autobert-zero"
ANOTHER_NAME = "choose another name with --set study=NAME"
"""What to do if a new search has the name of a study of another search."""

_IDENTITY = "identity"


def storage_of(out: Path, config: SearchConfig) -> Storage:
    """The Optuna storage of the run in a folder."""
    return config.storage or out / STUDY_FILE


def dashboard_url(storage: Storage) -> str:
    """The storage as `optuna-dashboard` takes it, without its password."""
    if isinstance(storage, Path):
        return URL.create("sqlite", database=str(storage)).render_as_string()
    return hide_password(storage)


class History:
    """Trials in the order of their numbers.

    Each becomes an Optuna trial in one transaction: its score is the value, the kind of every layer is
    a parameter, and the rest are user attributes. A search for a Pareto front has its costs as further
    values. If the storage stops answering, the history waits for it.

    Args:
        storage: The file of a run folder or any Optuna storage URL, for example `sqlite:///run/study.db`.
        study: Name of the study in the storage.
        identity: Settings that the trials depend on; stored with a new study, else compared.
        costs: Metrics of the trials that the search minimises in addition to maximising the score.
        say: Called with a line for the user if the storage does not answer.
        remedy: What to do if the study belongs to a search with other settings.

    Raises:
        StorageError: There is no room for it.
        HistoryError: The study cannot be reached or read, or it belongs to a search with other settings.
    """

    def __init__(
        self,
        storage: Storage,
        study: str = STUDY,
        identity: Mapping[str, Any] | None = None,
        costs: Sequence[str] = (),
        say: Callable[[str], None] = lambda line: None,
        remedy: str = ANOTHER_NAME,
    ) -> None:
        self._storage = storage
        self._say = say
        try:
            self._study = optuna.create_study(
                storage=open_storage(storage),
                study_name=study,
                directions=[StudyDirection.MAXIMIZE, *(StudyDirection.MINIMIZE for _ in costs)],
                load_if_exists=True,
            )
            self._length = len(self._study.get_trials(deepcopy=False))
            own = self._study.user_attrs.get(_IDENTITY)
        except StorageError:
            raise
        except Exception as error:  # every storage has its own kinds
            check_room(error, storage)
            raise HistoryError(
                f"the study {shown(storage)} cannot be reached or read ({cause_of(error, storage)}); check "
                "it, or start another run"
            ) from error
        # Studies of earlier versions have the score as their only value.
        self._costs = tuple(costs)[: len(self._study.directions) - 1]
        if identity is None:
            return
        if own is None and not self._length:
            kept = dict(identity)
            persistently(lambda: self._study.set_user_attr(_IDENTITY, kept), storage, say)
        elif own is not None and (other := other_settings(own, identity)):
            raise HistoryError(
                f"the study {study!r} in {shown(storage)} is of a search with another {', '.join(other)}; "
                f"{remedy}"
            )
        persistently(self._name_values, storage, say)

    def __len__(self) -> int:
        return self._length

    def append(self, trial: Trial) -> None:
        """Records a trial.

        Raises:
            ValueError: It is not the next trial.
            UserError: The storage no longer answers, or has no room.
        """
        if trial.proposal.number != self._length:
            raise ValueError(
                f"trial {trial.proposal.number} follows trial {self._length - 1}: one is missing"
            )
        frozen, attempted = to_optuna(trial, self._costs), False

        def record() -> None:
            nonlocal attempted
            # The storage may have recorded it before it stopped.
            if not attempted or len(self._study.get_trials(deepcopy=False)) == self._length:
                attempted = True
                self._study.add_trial(frozen)

        persistently(record, self._storage, self._say)
        self._length += 1

    def load(self) -> list[Trial]:
        """Reads all trials.

        Raises:
            HistoryError: The study holds trials that this package did not write.
        """
        return [from_optuna(trial) for trial in self._study.get_trials(deepcopy=False)]

    def _name_values(self) -> None:
        """Gives the values their names in Optuna's plots."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._study.metric_names is None:
                self._study.set_metric_names(["score", *self._costs])


def read_trials(storage: Storage, name: str = STUDY) -> list[Trial]:
    """Reads the trials of a study without writing into it, even while a search writes.

    Args:
        storage: A file or a URL; it is never created.
        name: Name of the study in the storage.

    Raises:
        HistoryError: There is no such study, it is damaged, or another program wrote it.
    """
    try:
        study = optuna.load_study(study_name=name, storage=open_to_read(storage))
        with _no_garbage_collection():
            trials = study.get_trials(deepcopy=False)
    except Exception as error:  # SQLite, SQLAlchemy and Optuna have their own kinds
        raise HistoryError(
            f"the study {shown(storage)} cannot be read: {cause_of(error, storage)}"
        ) from error
    return [from_optuna(trial) for trial in trials]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Optuna makes dozens of objects per trial, none of them garbage; collection would double the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
