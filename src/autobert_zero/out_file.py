"""The file of `--out`: checked before any work is done, so that nothing is overwritten or lost."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autobert_zero.errors import UserError, first_line
from autobert_zero.files import no_room
from autobert_zero.streams import STANDARD_STREAM


def check_out(out: Path, inputs: Iterable[Path], model: Path, allowed: str | None = None) -> None:
    """Checks that a file can be written, and that it replaces nothing that the command reads.

    Args:
        out: The file, or `-` for standard output.
        inputs: Files that are read, and folders whose files are.
        model: Folder of the model; a name on the Hub is none.
        allowed: Name of the only file in the model's folder that may be replaced.

    Raises:
        UserError: It is a folder, an input or a file of the model, or cannot be written.
    """
    if str(out) == STANDARD_STREAM:
        return
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file in it")
    resolved = out.parent.resolve() / out.name
    for path in filter(Path.exists, inputs):
        if out.exists() and out.samefile(path):
            raise UserError(f"--out {out} is also an input; name another file")
        if path.is_dir() and resolved.is_relative_to(path.resolve()):
            raise UserError(f"--out {out} is in {path}, a folder of inputs; name a file elsewhere")
    own = out.exists() and model.is_dir() and resolved.is_relative_to(model.resolve())
    if own and resolved != model.resolve() / (allowed or ""):
        raise UserError(f"--out {out} is a file in the folder of the model; name another file")
    check_new_file(out)


def check_new_file(path: Path) -> None:
    """Checks that a file can be made where its path says, in a folder that may have to be made too.

    Raises:
        UserError: It cannot.
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        shown = next((parent for parent in path.parents if parent.absolute() == folder), folder)
        raise UserError(f"{path} cannot be written: {shown} is a file, not a folder")
    with writing(path), tempfile.TemporaryFile(dir=folder):
        pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error of the system while a file is written into one message; a full disk has its own.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        yield
    except OSError as error:
        if no_room(error):
            raise
        reason = error.strerror or first_line(error)
        raise UserError(f"{path} cannot be written: {reason}; choose another file") from None
