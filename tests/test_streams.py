"""What is printed when nobody reads it."""

import errno
import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from autobert_zero.streams import lasting_streams, reader_gone


class Broken(io.StringIO):
    """A stream that cannot be written, with a file that may be replaced."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.file = os.dup(2)

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))

    def fileno(self) -> int:
        return self.file


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_work_goes_on_without_a_reader(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    stream = Broken(number)
    monkeypatch.setattr(sys, "stdout", stream)
    with lasting_streams():
        print("nobody reads this")
        Console().print("nor this")
        sys.stdout.writelines(["nor", "these"])
        assert reader_gone(sys.stdout)
    assert os.readlink(f"/proc/self/fd/{stream.file}") == os.devnull
    assert sys.stdout is stream


@pytest.mark.parametrize(
    ("encoding", "text", "bytes_"),
    [
        ("ascii", "é 😀", rb"\xe9 \U0001f600"),
        ("latin-1", "é 語", b"\xe9 \\u8a9e"),
        ("utf-8", "é \ud800", b"\xc3\xa9 \\ud800"),
    ],
)
def test_characters_that_the_encoding_lacks(
    monkeypatch: pytest.MonkeyPatch, encoding: str, text: str, bytes_: bytes
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    with lasting_streams():
        print(text, end="", flush=True)
    assert stream.buffer.getvalue() == bytes_


def test_a_full_disk_is_an_error_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken(errno.ENOSPC))
    with lasting_streams(), pytest.raises(OSError, match="No space left"):
        print("a result that would be cut")


def test_streams_that_were_closed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with lasting_streams():
        print("nowhere")
        assert sys.stdout is None


def test_a_closed_pipe_for_real() -> None:
    """The commands' own way of printing, with more than a pipe holds, to a reader that leaves at once."""
    program = (
        "import typer; from autobert_zero.streams import lasting_streams\n"
        "with lasting_streams():\n"
        "    for _ in range(3000): typer.echo('x' * 99)\n"
        "    open({!r}, 'w').write('done')\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    end = os.memfd_create("end")
    done = subprocess.run(
        [sys.executable, "-c", program.format(f"/proc/self/fd/{end}")],
        stdout=writing,
        stderr=subprocess.PIPE,
        pass_fds=(end,),
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.pread(end, 10, 0) == b"done"
