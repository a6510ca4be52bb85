"""Vectors that are expensive to compute, kept on disk between passes over a text and between runs."""

import os
import struct
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autobert_zero.data.cache import cache_entries, unusable

Vectors = NDArray[np.float32]

SUFFIX = ".vectors"
KEY_SIZE = 16
"""Bytes of a key."""
_HEADER = struct.Struct(f"{KEY_SIZE}sI")
"""Key and number of vectors; the vectors follow."""


class KeptVectors:
    """Groups of vectors by key, in files of the cache.

    Each process that adds groups appends them to a file of its own, so that processes need no locks, and what
    a killed process wrote in part is ignored. A process sees what was there when it began, and what it adds.

    Args:
        stem: Of `cache_path` without an ending, for everything that the vectors depend on beside the key.
        width: d.
        limit: Bytes that all files of vectors in the cache may take, those of other stems included; beyond it
            nothing is added.
        processes: Number of processes that share what is left.

    Raises:
        CacheError: The cache may not be read.
    """

    def __init__(self, stem: Path, width: int, limit: int, processes: int = 1) -> None:
        self._width = width
        self._stem = stem
        kept = [entry for entry in cache_entries() if entry.path.name.endswith(SUFFIX)]
        self.room = (limit - sum(entry.size for entry in kept)) // processes
        self._places: dict[bytes, tuple[FileIO, int, int]] = {}
        for entry in kept:
            if entry.path.name.startswith(stem.name):
                file = FileIO(entry.path)
                self._places |= {
                    key: (file, offset, count) for key, offset, count in self._groups(file, entry.size)
                }
        self._own: FileIO | None = None

    def __len__(self) -> int:
        """Number of groups."""
        return len(self._places)

    def get(self, key: bytes) -> Vectors | None:
        """The vectors (count, d) of a key, or None."""
        if key not in self._places:
            return None
        file, offset, count = self._places[key]
        vectors = np.empty((count, self._width), np.float32)
        file.seek(offset)
        return vectors if file.readinto(vectors.data) == vectors.nbytes else None

    def add(self, key: bytes, vectors: Vectors) -> None:
        """Keeps the vectors (count, d) of a new key, where there is room.

        Raises:
            CacheError: They cannot be written.
        """
        record = _HEADER.pack(key, len(vectors)) + vectors.astype(np.float32).tobytes()
        if len(record) > self.room:
            return
        self.room -= len(record)
        try:
            if self._own is None:
                self._own = self._new_file()
            offset = self._own.seek(0, os.SEEK_END)
            if self._own.write(record) < len(record):
                raise OSError("the disk is full")
        except OSError as error:
            raise unusable(self._stem.parent, error) from error
        self._places[key] = (self._own, offset + _HEADER.size, len(vectors))

    def _new_file(self) -> FileIO:
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            try:
                return FileIO(f"{self._stem}-{os.getpid()}-{number}{SUFFIX}", "x+")
            except FileExistsError:
                number += 1

    def _groups(self, file: FileIO, size: int) -> Iterator[tuple[bytes, int, int]]:
        """The key, place and number of vectors of each whole group of a file."""
        offset = 0
        while offset + _HEADER.size <= size:
            file.seek(offset)
            key, count = _HEADER.unpack(file.read(_HEADER.size))
            begin = offset + _HEADER.size
            offset = begin + 4 * count * self._width
            if offset <= size:
                yield key, begin, count
