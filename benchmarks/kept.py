"""Results of a long benchmark, one file per training, so that it can be stopped and continued."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.files import remove_partial, write_text

_SETTINGS = "settings.json"


class Kept:
    """Results by name, in a folder that belongs to one set of settings.

    Args:
        folder: Where they are kept; made if it is missing.
        settings: What all results depend on, as plain data (corpus, steps, ...).

    Raises:
        UserError: The folder holds results of other settings, or other files.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        path = folder / _SETTINGS
        if path.exists():
            known = _read(path)
            other = {name for name in {*known, *settings} if known.get(name) != settings.get(name)}
            if other:
                differences = ", ".join(
                    f"{name} {known.get(name)}, not {settings.get(name)}" for name in sorted(other)
                )
                raise UserError(f"{folder} holds results of {differences}; choose another --out")
            remove_partial(folder)
        elif folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} holds other files (no {_SETTINGS}); choose another --out")
        else:
            write_text(path, json.dumps(dict(settings)) + "\n")

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def __getitem__(self, name: str) -> Any:
        """The result of that name.

        Raises:
            UserError: Its file is damaged.
        """
        return _read(self._path(name))

    def __setitem__(self, name: str, result: Any) -> None:
        """Writes a result (plain data) whole."""
        write_text(self._path(name), json.dumps(result) + "\n")

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); delete it to measure it again") from None
