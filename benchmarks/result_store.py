"""Results of a long benchmark, one file per training, so that it can be stopped and continued."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autobert_zero.errors import UserError
from autobert_zero.files import remove_partial, write_text
from autobert_zero.run_folder.names import LOCK
from autobert_zero.signals import interrupting

_SETTINGS = "settings.json"


class ResultStore:
    """Results by name, as JSON files in a folder that belongs to one set of settings.

    Attributes:
        folder: The folder.

    Args:
        folder: The folder; it is created if it is missing.
        settings: Settings that all results depend on, as plain data (corpus, steps, ...).

    Raises:
        UserError: The folder holds results of other settings, or other files, or is being written into.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        path = folder / _SETTINGS
        if path.exists():
            known = _read(path, "put its text back, or choose another --out")
            other = {name for name in {*known, *settings} if known.get(name) != settings.get(name)}
            if other:
                differences = ", ".join(
                    f"{name} {known.get(name)}, not {settings.get(name)}" for name in sorted(other)
                )
                raise UserError(f"{folder} holds results of {differences}; choose another --out")
        elif folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} holds other files (no {_SETTINGS}); choose another --out")
        else:
            write_text(path, json.dumps(dict(settings)) + "\n")
        self._lock = FileLock(folder / LOCK, timeout=0, is_singleton=True)  # until the process ends
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(f"another process is writing into {folder}; stop it, or wait for it") from None
        remove_partial(folder)

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def __getitem__(self, name: str) -> Any:
        """Reads the result of that name.

        Raises:
            UserError: Its file is damaged.
        """
        return _read(self._path(name), "delete it to measure it again")

    def get(self, name: str) -> Any | None:
        """The result of that name; None if it is missing or its file is damaged, so that it is made again."""
        try:
            return self[name]
        except (FileNotFoundError, UserError):
            return None

    def __setitem__(self, name: str, result: dict[str, Any]) -> None:
        """Writes a result, which JSON can hold, in one atomic step."""
        write_text(self._path(name), json.dumps(result) + "\n")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _read(path: Path, remedy: str) -> Any:
    try:
        result = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from None
    if not isinstance(result, dict):
        raise UserError(f"{path} is damaged (it holds no JSON object); {remedy}")
    return result


@contextmanager
def resumable() -> Iterator[None]:
    """Ends the program with one line and exit code 130 after a signal, or 2 after a mistake of the user."""
    with interrupting():
        try:
            yield
        except KeyboardInterrupt:
            print("stopped; the same call continues", file=sys.stderr)
            sys.exit(130)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
