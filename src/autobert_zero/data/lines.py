"""Files as lines of UTF-8 text, decoded line by line, so that errors name the line."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from autobert_zero.errors import UserError


class CorpusError(UserError):
    """A corpus that cannot be read or used; the message says what to do."""


CORPUS_FILE = "corpus file"
"""Default name of a file in messages."""

_UTF_16 = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_UTF_32 = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32"}
_GZIP = b"\x1f\x8b"
_HEAD = 1024


@dataclass(frozen=True)
class Damage:
    """A record, or the rest of a file, that cannot be read.

    Attributes:
        message: One line with the file, the place and the remedy.
    """

    message: str

    def __str__(self) -> str:
        return self.message


DocumentReader = Callable[[], Iterator[str | Damage]]
"""Reads the documents of a part of a corpus from its beginning."""


class Line(NamedTuple):
    """A line of text without its end.

    Attributes:
        number: Number of the line, from 1.
        text: Its decoded text.
    """

    number: int
    text: str


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed by gzip, by its name."""
    return path.suffix.lower() == ".gz"


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for reading; decompresses it if its name ends in `.gz`."""
    if is_compressed(path):
        with gzip.open(path, "rb") as unpacked:
            yield unpacked  # type: ignore[misc]  # GzipFile reads as IO[bytes] does
    else:
        with path.open("rb") as stream:
            yield stream


def reading_failed(path: Path, error: Exception, what: str = CORPUS_FILE) -> Damage:
    """Explains an exception from opening or reading a file."""
    if isinstance(error, gzip.BadGzipFile) and not _begins_as_gzip(path):
        return Damage(f"{what} {path} ends in .gz but is not a gzip file")
    if isinstance(error, gzip.BadGzipFile | EOFError | zlib.error):
        return Damage(f"{what} {path} is a damaged gzip file; copy it again")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Damage(f"{what} {path} cannot be read: {reason}")


def _begins_as_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_GZIP)) == _GZIP


READING_ERRORS = (OSError, EOFError, zlib.error)
"""Exceptions from reading a file, compressed or not."""


def read_lines(path: Path, what: str = CORPUS_FILE) -> Iterator[Line | Damage]:
    """Yields the lines of a text file (UTF-8, with or without a byte order mark; any line ends).

    A line that is not UTF-8 is a `Damage`. If the rest of the file cannot be read, or the file is not text,
    the last item is a `Damage`.

    Args:
        path: The file.
        what: Name of the file in messages.
    """
    try:
        with open_bytes(path) as stream:
            yield from decode_lines(stream, f"{what} {path}", is_compressed(path))
    except READING_ERRORS as error:
        yield reading_failed(path, error, what)


def decode_lines(stream: IO[bytes], name: str, compressed: bool = False) -> Iterator[Line | Damage]:
    """Yields the lines of an open stream as `read_lines` does; the stream may be a pipe.

    Args:
        stream: A `BufferedReader` or a `GzipFile`.
        name: Its name in messages.
        compressed: Whether the stream decompresses a gzip file.
    """
    head = stream.peek(_HEAD)[:_HEAD]  # type: ignore[attr-defined]
    damage = _not_text(name, head, compressed)
    if damage is not None:
        yield damage
        return
    offset = number = 0
    for raw in stream:
        if b"\0" in raw:
            place = f"byte {offset + raw.index(0):,} is zero"
            yield Damage(f"{name} is binary, not text (line {number + 1:,}, {place})")
            return
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            number += 1
            yield _wrong_byte(name, number, offset + error.start, raw[error.start])
        else:
            if offset == 0:
                text = text.removeprefix("\ufeff")
            for part in _without_ends(text):
                number += 1
                yield Line(number, part)
        offset += len(raw)


def _without_ends(text: str) -> list[str]:
    """A line without its end; several lines if it has old Macintosh line ends."""
    text = text.removesuffix("\n").removesuffix("\r")
    return text.split("\r") if "\r" in text else [text]


def _not_text(name: str, head: bytes, compressed: bool) -> Damage | None:
    """Recognises files that are not UTF-8 text by their first bytes."""
    encoding = _UTF_32.get(head[:4]) or _UTF_16.get(head[:2]) or _unmarked(head)
    if encoding:
        return Damage(
            f"{name} is binary, not text in UTF-8: it is {encoding}; convert it: iconv -f {encoding} -t UTF-8"
        )
    if head.startswith(_GZIP):
        what = "compressed twice; unpack it once" if compressed else "a gzip file; unpack it, or name it .gz"
        return Damage(f"{name} is binary, not text: it is {what}")
    return None


def _unmarked(head: bytes) -> str | None:
    """Recognises UTF-16 without a byte order mark: every other byte of Latin text is zero."""
    even, odd = head[0::2], head[1::2]
    for zeros, others, name in ((odd, even, "UTF-16LE"), (even, odd, "UTF-16BE")):
        if len(zeros) > 1 and zeros.count(0) > len(zeros) // 2 and not others.count(0):
            return name
    return None


def _wrong_byte(name: str, line: int, offset: int, byte: int) -> Damage:
    return Damage(
        f"{name} is not UTF-8 text; convert it first, with its own encoding in place of LATIN1: "
        f"iconv -f LATIN1 -t UTF-8 (line {line:,}, byte {offset:,}: 0x{byte:02x} cannot be read as text)"
    )
