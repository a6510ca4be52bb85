"""The file of `--out`: checked before any work is done, and written whole, so that nothing is lost."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autobert_zero.errors import UserError, first_line
from autobert_zero.files import no_room, written_whole
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
    places = {out.parent.resolve() / out.name, Path(os.path.realpath(out))}
    for path in filter(Path.exists, inputs):
        if out.exists() and out.samefile(path):
            raise UserError(f"--out {out} is also an input; name another file")
        if path.is_dir() and any(place.is_relative_to(path.resolve()) for place in places):
            raise UserError(f"--out {out} is in {path}, a folder of inputs; name a file elsewhere")
    folder = model.resolve()
    own = {place for place in places if place.is_relative_to(folder)} - {folder / (allowed or "")}
    if own and out.exists() and model.is_dir():
        raise UserError(f"--out {out} is a file in the folder of the model; name another file")
    check_new_file(out)


def check_new_file(path: Path) -> None:
    """Checks that a file can be made or replaced at a path, in a folder that may have to be made too.

    Raises:
        UserError: It cannot.
    """
    if path.exists() and not path.is_file():  # a device or a pipe, which a file would replace
        raise UserError(f"{path} is not a regular file; choose another file, or - for standard output")
    with writing(path), tempfile.TemporaryFile(dir=_find_folder(path)):
        pass


def _find_folder(path: Path) -> Path:
    """The folder of a file, or the one in which that has to be made.

    Raises:
        UserError: It is a file.
    """
    folder = next(parent for parent in resolve_link(path).absolute().parents if parent.exists())
    if not folder.is_dir():
        shown = next((parent for parent in path.parents if parent.absolute() == folder), folder)
        raise UserError(f"{path} cannot be written: {shown} is a file, not a folder")
    return folder


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a file to write, which takes the place of `path`, or of a link's target, if the block ends well.

    A device or a pipe is yielded itself. A folder that is missing is made.

    Raises:
        UserError: The file cannot be written.
    """
    with writing(path):
        if path.exists() and not path.is_file():
            yield path
            return
        _find_folder(path)
        with written_whole(resolve_link(path)) as partial:
            yield partial


def resolve_link(path: Path) -> Path:
    """The file that a path leads to, so that a link is kept and its target replaced."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


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
