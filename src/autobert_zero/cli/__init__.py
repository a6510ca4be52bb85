"""The command line: parse, make a config, one call. Heavy imports are inside the commands."""

import errno
import sys
import traceback
from pathlib import Path

from autobert_zero.cli import (  # noqa: F401 - each adds its commands to the application
    cache,
    compare,
    config,
    diagnose,
    distil,
    draw,
    finetune,
    minimal_pairs,
    plan,
    predict,
    pretrain,
    report,
    search,
    show,
)
from autobert_zero.cli.app import app, exit_when_stopped
from autobert_zero.errors import UserError, first_line
from autobert_zero.extras import missing_extra
from autobert_zero.files import no_room
from autobert_zero.memory import keep_freed_memory
from autobert_zero.streams import lasting_streams

_PACKAGE = Path(__file__).parents[1]
_PLACES = 3
"""Number of places in our code that the message of a bug names."""

_PATHS = {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.EROFS}
"""Errors of any use of a path that a user names, including the check whether it exists."""


def main() -> None:
    """Runs the command line: every error is one message.

    The exit code of a mistake, an unusable path or a full disk is 2, that of a bug 1.
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
    """The message that replaces a traceback; None if the error is a bug of ours."""
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
    """An error that was not expected, with the last places in our code."""
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
    """The remedy for an error of the device; None if there is none."""
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
