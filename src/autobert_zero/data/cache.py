"""Where prepared text is kept: a folder that can be deleted at any time."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import tokenizers

from autobert_zero.errors import UserError
from autobert_zero.files import written_whole

T = TypeVar("T")

VARIABLE = "AUTOBERT_ZERO_CACHE"
KINDS = {
    ".npy": "sequences",
    ".tokenizer.json": "tokenizer",
    ".vectors": "embeddings",
    ".partial": "unfinished",
}
"""What the endings of its files say."""


class CacheError(UserError, OSError):
    """A cache that cannot be read or written."""


def cache_folder() -> Path:
    """`AUTOBERT_ZERO_CACHE` or `~/.cache/autobert-zero`; it need not exist.

    Raises:
        CacheError: There is neither the variable nor a home folder.
    """
    try:
        return Path(os.environ.get(VARIABLE) or "~/.cache/autobert-zero").expanduser()
    except RuntimeError:
        raise CacheError(f"there is no home folder for the cache; set {VARIABLE} to a folder") from None


def cache_path(recipe: str, suffix: str, *sources: str) -> Path:
    """The file of a recipe in the cache.

    Args:
        recipe: Everything that the content depends on, except code.
        suffix: Ending of the file's name, one of `KINDS`.
        sources: The `__file__` of each of our modules that makes the content: what another version of the
            code has made is never used.
    """
    key = f"{code_version(*sources)}\n{recipe}"
    return cache_folder() / (hashlib.blake2b(key.encode(), digest_size=16).hexdigest() + suffix)


@cache
def code_version(*sources: str) -> str:
    """A digest of source files and of the version of `tokenizers`, which does their work."""
    digest = hashlib.blake2b(tokenizers.__version__.encode(), digest_size=16)
    for source in sources:
        content = Path(source).read_bytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def read_cached(path: Path, read: Callable[[Path], T]) -> T | None:
    """Reads a cached file; None where there is none, or where it is damaged and has to be made again.

    Args:
        path: Result of `cache_path`.
        read: Reads the file; raises what it likes where it is damaged.

    Raises:
        CacheError: The cache may not be read.
    """
    try:
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unusable(path.parent, error) from None
    try:
        return read(path)
    except Exception:  # a file that was cut short or overwritten; each library has its own exceptions
        return None


@contextmanager
def write_cached(path: Path) -> Iterator[Path]:
    """Yields a temporary file, which takes the place of `path` when the block ends well.

    Raises:
        CacheError: The cache cannot be written; nothing is left behind.
    """
    try:
        with written_whole(path) as partial:
            yield partial
    except OSError as error:
        raise unusable(path.parent, error) from error


def check_writable() -> None:
    """Finds out before any work is done that its result could not be kept.

    Raises:
        CacheError: The folder of the cache can neither be made nor written.
    """
    folder = cache_folder()
    try:
        exists = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        raise unusable(folder, error) from None
    if not exists.is_dir():
        raise CacheError(f"the cache {folder} cannot be used: {exists} is a file; set {VARIABLE} to a folder")
    if not os.access(exists, os.W_OK | os.X_OK):
        raise CacheError(
            f"the cache {folder} cannot be used: {exists} may not be written; set {VARIABLE} to a folder"
        )


@dataclass(frozen=True)
class CacheEntry:
    """A file in the cache.

    Attributes:
        path: Where it is.
        kind: What it holds.
        size: Bytes.
        modified: When it was written, in seconds since 1970.
    """

    path: Path
    kind: str
    size: int
    modified: float


def cache_entries() -> list[CacheEntry]:
    """The files in the cache that we made, the newest last; also what killed processes left half-made.

    Raises:
        CacheError: The cache may not be read.
    """
    folder, found = cache_folder(), []
    try:
        for path in folder.iterdir() if folder.exists() else ():
            kind = next((kind for ending, kind in KINDS.items() if path.name.endswith(ending)), None)
            if kind is not None and path.is_file():
                status = path.stat()
                found.append(CacheEntry(path, kind, status.st_size, status.st_mtime))
    except OSError as error:
        raise unusable(folder, error) from None
    return sorted(found, key=lambda entry: (entry.modified, entry.path.name))


def remove(entry: CacheEntry) -> None:
    """Deletes a file of the cache. A run that has it open keeps it until it ends.

    Raises:
        CacheError: It may not be deleted.
    """
    try:
        entry.path.unlink(missing_ok=True)
    except OSError as error:
        raise unusable(entry.path.parent, error) from None


def unusable(folder: Path, error: OSError) -> CacheError:
    """The error for a cache that the system lets nobody read or write."""
    reason = error.strerror or str(error)
    return CacheError(
        f"the cache {folder} cannot be used: {reason}; make room or set {VARIABLE} to another folder"
    )
