"""The command line: parse, make a config, one call. Heavy imports are inside the commands."""

import errno
import sys

from autobert_zero.cli import (
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
from autobert_zero.cli.app import app
from autobert_zero.errors import UserError, first_line
from autobert_zero.extras import missing_extra
from autobert_zero.memory import keep_freed_memory
from autobert_zero.streams import lasting_streams

_FULL = {errno.ENOSPC, errno.EDQUOT}
_PATHS = {errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.EROFS}
"""What any use of a path that a user names can raise, the question whether it exists included."""


def main() -> None:
    """Runs the command line: a mistake, an unusable path or a full disk is one message and exit code 2."""
    keep_freed_memory()
    with lasting_streams():
        _run()


def _run() -> None:
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (message := missing_extra(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, MemoryError) as error:
        if (message := _of_device(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno in _FULL:
            where = f" ({error.filename})" if error.filename else ""
            message = f"{error.strerror}{where}; make room, then go on where it stopped"
        elif error.errno in _PATHS and error.filename:
            message = f"{error.filename} cannot be used: {error.strerror}; choose another path"
        else:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


def _of_device(error: BaseException) -> str | None:
    """What to do about an error of the device's, where something can be done."""
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


__all__ = [
    "app",
    "cache",
    "compare",
    "config",
    "diagnose",
    "distil",
    "draw",
    "finetune",
    "main",
    "minimal_pairs",
    "plan",
    "predict",
    "pretrain",
    "report",
    "search",
    "show",
]
