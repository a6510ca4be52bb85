"""Whether a run folder is free, half-made or a run; starting or continuing one, by one writer at a time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from autobert_zero.files import remove_partial
from autobert_zero.run_folder.names import FINETUNING, LOCK, ONLY_OF_RUNS, STARTED, RunKind, kind_of
from autobert_zero.run_folder.record import Input, RunError, check_inputs, continue_record, start_record


def check_new(folder: Path) -> None:
    """Checks that a folder is free for a new run: missing, empty, or left by a start that did not succeed.

    Raises:
        RunError: It holds something.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:  # the libraries that write weights, tokenizers and logs cannot take it
        raise RunError(f"the name of {str(folder)!r} is not UTF-8; choose another --out") from None
    if _free(folder):
        return
    kind = kind_of(folder)
    if folder.is_file():
        raise RunError(f"{folder} is a file; choose another --out")
    if kind is None:
        raise RunError(f"{folder} holds other files already; choose another --out")
    how = "give the same call again" if kind is FINETUNING else "continue it with --resume"
    raise RunError(f"{folder} holds a {kind.name} already; {how}, or choose another --out")


def check_run(folder: Path, kind: RunKind) -> None:
    """Checks that a folder holds a run of a kind, to continue it.

    Raises:
        RunError: It does not.
    """
    other = kind_of(folder)
    if (folder / kind.marker).is_file():
        return
    what = f"it holds a {other.name}" if other else "start one without --resume"
    raise RunError(f"{folder} holds no {kind.name} (no {kind.marker}); {what}")


def holds_run(folder: Path, kind: RunKind) -> bool:
    """Whether a folder holds a run of a kind that would be continued; False where one would be started.

    Raises:
        RunError: It holds something else.
    """
    if kind_of(folder) is kind and not _free(folder):
        return True
    check_new(folder)
    return False


@contextmanager
def open_run(
    folder: Path,
    kind: RunKind,
    inputs: Mapping[str, Input],
    write_start: Callable[[], None],
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[None]:
    """Opens a folder for its one writer: starts a run in it, or continues the one that it holds.

    Args:
        folder: The folder; made if it is missing.
        kind: Kind of the run.
        inputs: Inputs of the run besides its config, by kind; compared if it is continued.
        write_start: Writes the files that a continuation reads, the kind's marker last.
        say: Called with a line for the user.

    Raises:
        RunError: The folder holds something else, the run was started on other inputs or by other code, or
            another process writes into it; the folder is as it was then.
    """
    started = holds_run(folder, kind)
    if started:
        check_inputs(folder, inputs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {error.strerror}; choose another --out") from None
    with _only_writer(folder):
        if holds_run(folder, kind) != started:
            raise RunError(f"another process has written into {folder}; choose another --out")
        remove_partial(folder)
        if started:
            continue_record(folder, kind, inputs, say)
        else:
            for name in STARTED - {LOCK}:
                (folder / name).unlink(missing_ok=True)
            start_record(folder, kind, inputs)
            write_start()
        yield


def _free(folder: Path) -> bool:
    """Whether nothing in a folder would be lost: all that is in it was left by a start."""
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return not folder.exists()  # it cannot be made either, which is reported later
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {error.strerror}; choose another --out") from None
    whole = {name for name in names if not name.endswith(".partial")}
    return not names or (whole <= STARTED and bool(whole & ONLY_OF_RUNS or names - whole))


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing into the folder."""
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another process is writing into {folder}; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise RunError(f"{folder} cannot be written into: {error.strerror}; choose another --out") from None
    try:
        yield
    finally:
        lock.release()
