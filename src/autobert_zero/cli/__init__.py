"""The command line. Each command parses options, makes a config and makes one call; it imports lazily."""

import errno
import sys
import traceback
from pathlib import Path

from autobert_zero.cli import (  # noqa: F401 - each adds its commands to the application
    cache,
    compare,
    config,
    describe,
    diagnose,
    distil,
    draw,
    export,
    finetune,
    minimal_pairs,
    plan,
    predict,
    pretrain,
    report,
    search,
    zoo,
)
from autobert_zero.cli.app import app, exit_when_stopped
from autobert_zero.errors import UserError, first_line
from autobert_zero.extras import missing_extra
from autobert_zero.files import no_room
from autobert_zero.memory import keep_freed_memory
from autobert_zero.streams import lasting_streams

_PACKAGE = Path(__file__).parents[1]
_PLACES = 3
"""Maximum number of code locations in the message of a bug."""

_PATHS = {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.EROFS}
"""Error numbers of paths that cannot be used, even to check whether they exist."""


def main() -> None:
    """Runs the command line, and turns every error into one message.

    The exit code is 2 for a mistake of the user, an unusable path or a full disk, and 1 for a bug.
    """
    keep_freed_memory()
    with lasting_streams(), exit_when_stopped(lambda: "nothing was done yet: give the same call again"):
        _run_app()


def _run_app() -> None:
    try:
        app()
    except Exception as error:
        message = _message(error)
        print(f"error: {_bug(error) if message is None else message}", file=sys.stderr)
        sys.exit(1 if message is None else 2)


def _message(error: Exception) -> str | None:
    """The message that replaces the traceback; None if the error is a bug in this package."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return missing_extra(error)
    path = getattr(error, "filename", None)
    if no_room(error):
        reason = getattr(error, "strerror", None) or first_line(error)
        return f"{reason}{f' ({path})' if path else ''}; make room, then go on where it stopped"
    if isinstance(error, OSError) and error.errno in _PATHS and path:
        return f"{path} cannot be used: {error.strerror}; choose another path"
    return _device_remedy(error) if isinstance(error, RuntimeError | MemoryError) else None


def _bug(error: Exception) -> str:
    """The message of an unexpected error, with the last locations in this package."""
    frames = traceback.extract_tb(error.__traceback__)
    locations = [
        f"{path.relative_to(_PACKAGE)}:{frame.lineno}"
        for frame in frames
        if (path := Path(frame.filename)).is_relative_to(_PACKAGE)
    ]
    where = f" ({', '.join(locations[-_PLACES:])})" if locations else ""
    return (
        f"{type(error).__name__}: {first_line(error)}{where}; this is a bug: please report it with its "
        "traceback, which the same command prints with -v"
    )


def _device_remedy(error: Exception) -> str | None:
    """The message of a full or incapable device; None for other errors."""
    from autobert_zero.devices import out_of_memory

    if out_of_memory(error):
        return (
            f"memory is full ({first_line(error)}); what was recorded is whole: close what else uses the "
            "device, take smaller batches, shorter sequences, a smaller model or fewer workers, then go on"
        )
    if isinstance(error, NotImplementedError) and "MPS" in str(error):
        return (
            f"Apple's GPU lacks an operation ({first_line(error)}); choose device cpu, or set "
            "PYTORCH_ENABLE_MPS_FALLBACK=1"
        )
    return None


__all__ = ["app", "main"]
