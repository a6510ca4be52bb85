"""Vectors that are expensive to compute, kept on disk between epochs and between runs."""

import logging
import os
import struct
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autobert_zero.data.cache import cache_entries, unusable_cache_error

_LOG = logging.getLogger(__name__)

Vectors = NDArray[np.float32]

SUFFIX = ".vectors"
KEY_SIZE = 16
"""Bytes of a key."""
_HEADER = struct.Struct(f"{KEY_SIZE}sI")
"""Key and number of vectors; the vectors follow."""


class KeptVectors:
    """Groups of vectors by key, in files of the cache.

    Each process appends groups to its own file, so that no locks are needed and groups that a killed process
    wrote in part are ignored. A process sees the groups from before it started and its own; deleted ones are
    missing. Files are open only while they are read or written.

    Args:
        stem: Result of `cache_path` without an ending, for everything that the vectors depend on besides the
            key.
        width: d.
        limit: Maximum bytes of all files of vectors in the cache, of any stem; what other processes add at
            the same time is not counted.
        processes: Number of processes that share the remaining room.

    Raises:
        CacheError: The cache may not be read.
    """

    def __init__(self, stem: Path, width: int, limit: int, processes: int = 1) -> None:
        self._width = width
        self._stem = stem
        kept = [entry for entry in cache_entries() if entry.path.name.endswith(SUFFIX)]
        self.room = (limit - sum(entry.size for entry in kept)) // processes
        self._places: dict[bytes, tuple[Path, int, int]] = {}
        for entry in kept:
            if entry.path.name.startswith(stem.name):
                try:
                    self._places |= dict(self._groups(entry.path))
                except FileNotFoundError:  # deleted meanwhile
                    continue
                except OSError as error:
                    raise unusable_cache_error(stem.parent, error) from error
        self._own: Path | None = None

    def __len__(self) -> int:
        """Number of groups."""
        return len(self._places)

    def get(self, key: bytes) -> Vectors | None:
        """The vectors (count, d) of a key; None if they are missing or can no longer be read."""
        if key not in self._places:
            return None
        path, offset, count = self._places[key]
        vectors = np.empty((count, self._width), np.float32)
        try:
            with FileIO(path) as file:
                file.seek(offset)
                header = file.read(_HEADER.size)
                if header == _HEADER.pack(key, count) and file.readinto(vectors.data) == vectors.nbytes:
                    return vectors
        except OSError as error:
            _LOG.warning("%s can no longer be read (%s)", path, error.strerror)
        self._places = {key: place for key, place in self._places.items() if place[0] != path}
        return None

    def add(self, key: bytes, vectors: Vectors) -> None:
        """Keeps the vectors (count, d) of a key if there is room; after a failed write no others are kept."""
        record = _HEADER.pack(key, len(vectors)) + vectors.astype(np.float32).tobytes()
        if len(record) > self.room:
            return
        try:
            if self._own is None:
                self._own = self._new_file()
            with FileIO(self._own, "r+") as file:
                offset = file.seek(0, os.SEEK_END)
                if file.write(record) < len(record):
                    raise OSError("the disk is full")
        except OSError as error:
            self.room = 0  # an incomplete group ends its file
            _LOG.warning("nothing more is kept in %s: %s", self._stem.parent, error.strerror or error)
            return
        self.room -= len(record)
        self._places[key] = (self._own, offset, len(vectors))

    def _new_file(self) -> Path:
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            path = Path(f"{self._stem}-{os.getpid()}-{number}{SUFFIX}")
            try:
                path.touch(exist_ok=False)
                return path
            except FileExistsError:
                number += 1

    def _groups(self, path: Path) -> Iterator[tuple[bytes, tuple[Path, int, int]]]:
        """The key, place and number of vectors of each whole group of a file."""
        with FileIO(path) as file:
            size, offset = os.fstat(file.fileno()).st_size, 0
            while offset + _HEADER.size <= size:
                file.seek(offset)
                header = file.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    return
                key, count = _HEADER.unpack(header)
                begin, offset = offset, offset + _HEADER.size + 4 * count * self._width
                if offset <= size:
                    yield key, (path, begin, count)
