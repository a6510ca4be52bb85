"""Opens, reads and waits for Optuna's storages: the file of a run folder, a database server, or a journal."""

import sqlite3
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalRedisBackend
from sqlalchemy import inspect, make_url
from sqlalchemy.exc import InterfaceError, OperationalError

from autobert_zero.errors import UserError
from autobert_zero.files import no_room
from autobert_zero.urls import hide_password, hide_secrets

Storage = str | Path
"""A URL, or the SQLite file of a run folder, which need not fit into a URL."""

_JOURNAL = "journal:///"
_PATIENCE = 300.0
"""Seconds to wait for a storage that does not answer."""

_LONGEST_PAUSE = 15.0
"""Maximum number of seconds between two attempts."""

T = TypeVar("T")


class StorageError(UserError):
    """A storage that cannot be reached or read."""


def shown(storage: Storage) -> str:
    """The storage for messages, without its password."""
    return hide_password(storage) if isinstance(storage, str) else str(storage)


def cause_of(error: BaseException, storage: Storage) -> str:
    """The first line of a driver's error, without passwords."""
    line = (str(error).splitlines() or [""])[0].strip() or type(error).__name__
    return hide_secrets(line, storage) if isinstance(storage, str) else line


def check_room(error: BaseException, storage: Storage) -> None:
    """Turns an error about a full disk, a quota or a file's size into a message that says what to do.

    Raises:
        StorageError: A disk, a quota or the limit of a file's size is reached.
    """
    if no_room(error):
        cause = cause_of(error.__cause__ or error, storage)
        raise StorageError(
            f"the study {shown(storage)} cannot be written ({cause}); what was recorded is whole: make room "
            "(disk, quota, or ulimit -f), then continue with --resume"
        ) from error


def open_storage(storage: Storage) -> BaseStorage:
    """Opens a storage for writing; a database without Optuna's tables gets them.

    Args:
        storage: A file, a URL of SQLAlchemy, `redis://...` or `journal:///file`.

    Raises:
        StorageError: It is a database in memory, which ends with the process.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if isinstance(storage, Path):
        return _sqlite(str(storage))
    if storage.startswith(("redis://", "rediss://", _JOURNAL)):
        return _journal(storage)
    if _sqlite_file(storage) == "":
        raise StorageError(
            f"the storage {storage} is in memory, where the history would end with the process; name a file: "
            "sqlite:///FILE"
        )
    # A connection that a restarted server has dropped is detected and opened again.
    engine: dict[str, Any] = {} if storage.startswith("sqlite") else {"pool_pre_ping": True}
    return RDBStorage(storage, engine_kwargs=engine)


def open_to_read(storage: Storage) -> BaseStorage:
    """Opens a storage with existing studies; nothing is created.

    Raises:
        StorageError: There is no such file, or no study in the database.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if isinstance(storage, str):
        storage = Path(file) if (file := _sqlite_file(storage)) else storage
    if isinstance(storage, Path):
        if not storage.is_file():
            raise StorageError(f"there is no file {storage}")
        return _sqlite(f"{storage.resolve().as_uri()}?mode=ro")
    if storage.startswith(_JOURNAL):
        if not Path(storage.removeprefix(_JOURNAL)).is_file():
            raise StorageError(f"there is no file {storage.removeprefix(_JOURNAL)}")
        return _journal(storage)
    if storage.startswith(("redis://", "rediss://")):
        return _journal(storage)
    from sqlalchemy import create_engine

    engine = create_engine(storage)
    try:
        if not inspect(engine).has_table("studies"):
            raise StorageError(f"{shown(storage)} holds no studies")
    finally:
        engine.dispose()
    return RDBStorage(storage)


def _sqlite_file(url: str) -> str | None:
    """The file of an SQLite URL, empty for a database in memory; None for another URL."""
    if not url.startswith("sqlite"):
        return None
    database = make_url(url).database or ""
    return "" if ":memory:" in database else database


def persistently(work: Callable[[], T], storage: Storage, say: Callable[[str], None]) -> T:
    """Does work on a storage, and tries again for some minutes if the storage does not answer.

    Args:
        work: The work; it may be called again after it failed.
        storage: The storage, for messages.
        say: Called with a line for the user.

    Raises:
        StorageError: The storage still does not answer, or has no room.
    """
    end, pause, failed = time.monotonic() + _PATIENCE, 1.0, False
    while True:
        try:
            result = work()
        except Exception as error:
            if not _temporary(error, storage):
                check_room(error, storage)
                raise
            cause = cause_of(error, storage)
            if time.monotonic() + pause > end:
                raise StorageError(
                    f"the storage {shown(storage)} has not answered for {_PATIENCE / 60:.0f} minutes "
                    f"({cause}); all that was recorded is whole: start it, then continue with --resume"
                ) from error
            if not failed:
                say(
                    f"the storage {shown(storage)} does not answer ({cause}); trying again for "
                    f"{_PATIENCE / 60:.0f} minutes"
                )
            failed = True
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            continue
        if failed:
            say(f"the storage {shown(storage)} answers again")
        return result


def _temporary(error: BaseException, storage: Storage) -> bool:
    """Whether an error may pass: an unreachable server, or a database that another process has locked."""
    causes: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in causes:
        causes.append(current)
        current = current.__cause__ or current.__context__
    if isinstance(storage, Path) or storage.startswith(("sqlite", _JOURNAL)):
        # All other errors of a file's database are about the file: full, damaged, gone.
        return any(isinstance(cause, OperationalError) and "locked" in str(cause) for cause in causes)
    network = (OperationalError, InterfaceError, ConnectionError, TimeoutError)
    return any(
        isinstance(cause, network) or (type(cause).__module__ or "").startswith("redis.exceptions")
        for cause in causes
    )


def _sqlite(address: str) -> RDBStorage:
    """The database in a file; a connection of our own, since a URL cannot hold every file name."""
    from sqlalchemy.pool import NullPool

    is_uri = address.startswith("file:")
    return RDBStorage(
        "sqlite://",
        engine_kwargs={"creator": lambda: sqlite3.connect(address, uri=is_uri), "poolclass": NullPool},
    )


def _journal(storage: str) -> JournalStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if storage.startswith(_JOURNAL):
            return JournalStorage(JournalFileBackend(storage.removeprefix(_JOURNAL)))
        return JournalStorage(JournalRedisBackend(storage))
