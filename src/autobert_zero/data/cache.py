"""The cache of prepared text: a folder that can be deleted at any time."""

import hashlib
import os
import re
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
ENTRY_KINDS = {
    ".npy": "sequences",
    ".tokenizer.json": "tokenizer",
    ".vectors": "embeddings",
    ".partial": "unfinished",
}
"""Contents of its files by their endings."""

_OWN_NAME = re.compile(
    r"[0-9a-f]{32}(?:-\d+-\d+)?(\.npy|\.tokenizer\.json|\.vectors)"
    r"(?:\.[0-9a-f]{16}(\.partial))?"
)
"""The names that `cache_path`, `KeptVectors` and `written_whole` make; other files may be the user's."""


class CacheError(UserError, OSError):
    """A cache that cannot be read or written."""


def cache_folder() -> Path:
    """`AUTOBERT_ZERO_CACHE` or `~/.cache/autobert-zero`; it may not exist.

    Raises:
        CacheError: Neither the variable nor a home folder is set.
    """
    try:
        return Path(os.environ.get(VARIABLE) or "~/.cache/autobert-zero").expanduser()
    except RuntimeError:
        raise CacheError(f"there is no home folder for the cache; set {VARIABLE} to a folder") from None


def cache_path(recipe: str, suffix: str, *sources: str) -> Path:
    """The cached file of a recipe.

    Args:
        recipe: Everything that the content depends on, except code.
        suffix: Ending of the file's name, one of `ENTRY_KINDS`.
        sources: The `__file__` of each of our modules that computes the content, so that files from other
            versions of the code are never used.
    """
    key = f"{code_version(*sources)}\n{recipe}"
    return cache_folder() / (hashlib.blake2b(key.encode(), digest_size=16).hexdigest() + suffix)


@cache
def code_version(*sources: str) -> str:
    """A digest of source files and of the version of `tokenizers`, which they use."""
    digest = hashlib.blake2b(tokenizers.__version__.encode(), digest_size=16)
    for source in sources:
        content = Path(source).read_bytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def read_cached(path: Path, read: Callable[[Path], T]) -> T | None:
    """Reads a cached file; None if it is missing or damaged and has to be computed again.

    Args:
        path: Result of `cache_path`.
        read: Reads the file; raises any exception if it is damaged.

    Raises:
        CacheError: The cache may not be read.
    """
    try:
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unusable_cache_error(path.parent, error) from None
    try:
        return read(path)
    except Exception:  # truncated or overwritten; each library has its own exceptions
        return None


@contextmanager
def write_cached(path: Path) -> Iterator[Path]:
    """Yields a temporary file, which replaces `path` when the block succeeds.

    Raises:
        CacheError: The cache cannot be written; no file is left behind.
    """
    try:
        with written_whole(path) as partial:
            yield partial
    except OSError as error:
        raise unusable_cache_error(path.parent, error) from error


def check_writable() -> None:
    """Checks that the cache can be written, before any work is done for it.

    Raises:
        CacheError: The folder of the cache can neither be created nor written.
    """
    folder = cache_folder()
    try:
        exists = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        raise unusable_cache_error(folder, error) from None
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
        path: Its path.
        kind: Its content, see `ENTRY_KINDS`.
        size: Size in bytes.
        modified: Time of the last change, in seconds since 1970.
    """

    path: Path
    kind: str
    size: int
    modified: float


def cache_entries() -> list[CacheEntry]:
    """Our files in the cache, newest last, with the partial files of killed processes.

    Raises:
        CacheError: The cache may not be read.
    """
    folder, entries = cache_folder(), []
    try:
        for path in folder.iterdir() if folder.exists() else ():
            name = _OWN_NAME.fullmatch(path.name)
            if name is not None and path.is_file():
                status = path.stat()
                kind = ENTRY_KINDS[name[2] or name[1]]
                entries.append(CacheEntry(path, kind, status.st_size, status.st_mtime))
    except OSError as error:
        raise unusable_cache_error(folder, error) from None
    return sorted(entries, key=lambda entry: (entry.modified, entry.path.name))


def remove(entry: CacheEntry) -> None:
    """Deletes a cached file; a run that has it open can still read it.

    Raises:
        CacheError: It cannot be deleted.
    """
    try:
        entry.path.unlink(missing_ok=True)
    except OSError as error:
        raise unusable_cache_error(entry.path.parent, error) from None


def unusable_cache_error(folder: Path, error: OSError) -> CacheError:
    """The error for a cache that the system does not let us read or write."""
    reason = error.strerror or str(error)
    return CacheError(
        f"the cache {folder} cannot be used: {reason}; make room or set {VARIABLE} to another folder"
    )
