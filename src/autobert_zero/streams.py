"""Standard streams: output and error that may lose their reader, as with `| head`; input as bytes."""

import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from autobert_zero.errors import UserError

STANDARD_STREAM = "-"
"""Name that stands for standard input as a file to read, and for standard output as a file to write."""

STDIN = Path("standard input")
"""The standard input in messages."""

_NOBODY_READS = {errno.EPIPE, errno.EIO}
"""Error numbers of a pipe without a reader, and of a closed terminal."""


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Lets the block continue when the reader of its output is gone, so that no work is lost."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def reader_gone(stream: Any) -> bool:
    """Whether output to the stream is discarded, since its reader is gone."""
    return isinstance(stream, _Lasting) and stream.dropped


def stdin_bytes() -> IO[bytes]:
    """The standard input before any decoding.

    Raises:
        UserError: It is closed.
    """
    if sys.stdin is None:
        raise UserError("standard input is closed; name a file")
    stream: Any = getattr(sys.stdin, "buffer", None) or io.BufferedReader(
        io.BytesIO(sys.stdin.read().encode())  # a text stream that replaces it has no bytes
    )
    return stream


def _lasting(stream: TextIO | None) -> Any:
    """Wraps a stream; None, Python's value for a closed stream, accepts prints as it is."""
    return None if stream is None else _Lasting(stream)


class _Lasting:
    """A text stream that discards output without a reader, and escapes characters its encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.dropped = False

    def write(self, text: str) -> int:
        """Writes or discards the text, with characters escaped that the encoding lacks."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError as error:
            return self.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        except OSError as error:
            self._drop(error)
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes or discards each of the texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flushes or discards the buffered output."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _drop(self, error: OSError) -> None:
        """Redirects the stream to the null device; its buffered output would otherwise fail at exit."""
        if error.errno not in _NOBODY_READS:
            raise error
        self.dropped = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
