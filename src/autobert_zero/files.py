"""Files that are written whole or not at all, and JSON that is read with its damage named."""

import errno
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from autobert_zero.errors import UserError

_T = TypeVar("_T")

_PARTIAL = ".partial"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_TEXTS = (
    "no space left",
    "disk is full",
    "disk full",
    "disk i/o error",
    "quota exceeded",
    "file too large",
)
"""Texts of exceptions of safetensors, SQLite and TensorBoard, which have no `errno`.

SQLite calls it an I/O error where a file may not grow.
"""


def no_room(error: BaseException) -> bool:
    """Whether an error, or its cause, says that a disk, a quota or the limit of a file's size is reached."""
    return any(
        getattr(cause, "errno", None) in _FULL or any(text in str(cause).lower() for text in _FULL_TEXTS)
        for cause in (error, error.__cause__)
        if cause is not None
    )


@contextmanager
def written_whole(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Yields a temporary file beside `path`, flushed to disk and renamed when the block ends well.

    Its name is unique among all processes and machines that share the folder. Whoever writes into it, the
    file ends with the rights that the umask gives to any new file; safetensors alone would make it 0600.

    Args:
        path: The file to write; its folder is made if it is missing.
        mode: Rights of the file in place of the umask's, for example 0o600 for what only its owner may read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_PARTIAL}")
    try:
        partial.touch(mode=0o666 if mode is None else mode, exist_ok=False)
        rights = partial.stat().st_mode & 0o777
        yield partial
        partial.chmod(rights)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            error.filename = str(path)  # the system names no file, or the temporary one
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`, which takes its place, flushed, when the block ends well.

    Its files end with the rights that the umask gives to any new file.

    Args:
        path: The folder to write; what it held before is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_PARTIAL}")
    try:
        partial.mkdir()
        yield partial
        follow_umask(partial)
        for file in filter(Path.is_file, partial.rglob("*")):
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        _flush_folder(partial)
        if path.exists():
            shutil.rmtree(path)
        partial.replace(path)
        _flush_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str, mode: int | None = None) -> None:
    """Writes a text file (UTF-8) whole."""
    with written_whole(path, mode) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Reads an object from a file.

    Raises:
        UserError: It cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}; save or copy it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object; save or copy it again")
    return content


def read_dataclass(kind: type[_T], path: Path, remedy: str) -> _T:
    """Reads the fields of a dataclass from JSON, in which every value must have its type.

    Args:
        kind: The dataclass.
        path: The file.
        remedy: What to do about a damaged file, for example `delete it to train it again`.

    Raises:
        UserError: The file is damaged.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        reason = error.strerror
    except ValidationError as error:
        problem = error.errors()[0]
        reason = ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
    raise UserError(f"{path} is damaged ({reason}); {remedy}")


def json_values(value: Any) -> Any:
    """Plain data that JSON can hold: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # an array, a tensor, or one number of them
        return json_values(value.tolist())
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def remove_partial(folder: Path) -> None:
    """Removes what writers that were killed left below a folder: files and folders named `*.partial`.

    Call it only where no other process writes.
    """
    for path in sorted(folder.rglob(f"*{_PARTIAL}")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def follow_umask(folder: Path, pattern: str = "*") -> None:
    """Gives the files directly in a folder (those of a pattern) the rights that the umask gives to new files.

    For libraries that write files of their own, of which safetensors' are readable for their owner only.
    """
    probe = folder / f"{secrets.token_hex(8)}{_PARTIAL}"
    probe.touch(exist_ok=False)
    rights = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in folder.glob(pattern):
        if path.is_file() and not path.is_symlink():
            path.chmod(rights)


def _flush_folder(folder: Path) -> None:
    """Flushes a rename to disk, where the system lets a folder be opened."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
