"""Signals that stop a run: Ctrl-C, and what schedulers, closing terminals and limits send.

SIGTERM comes from schedulers, containers and `kill`, SIGHUP from a terminal or connection that closes,
SIGUSR1 and SIGUSR2 from Slurm, LSF and Grid Engine some time before they kill, SIGXCPU from a limit of CPU
time. A run treats all of them as Ctrl-C. A signal that is ignored when the program starts, as SIGHUP under
`nohup`, stays ignored.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_NAMES = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
_OURS = tuple(signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__)

_Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
    """A signal stopped the run, which can be continued.

    Args:
        number: The signal; None for one that is not known.
    """

    def __init__(self, number: int | None = None) -> None:
        super().__init__(*() if number is None else (signal.Signals(number).name,))


@contextmanager
def interrupting() -> Iterator[Callable[[], int | None]]:
    """Lets the signals, Ctrl-C among them, interrupt the block with `Stopped`.

    Only the first one counts: a closing terminal sends SIGHUP twice, and the second must not interrupt the
    clean-up. Ctrl-C always interrupts. Does nothing outside the main thread.

    Yields:
        A function that returns the signal that interrupted the block, or None: libraries raise errors of
        their own where they are interrupted, as pydantic does while it builds a class.
    """
    sent: int | None = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal sent
        sent = number
        _ignore(_OURS)
        raise Stopped(number)

    with _handling((signal.SIGINT, *_OURS), interrupt):
        yield lambda: sent


@contextmanager
def stop_requests(patient: bool = False) -> Iterator[Callable[[], int | None]]:
    """Collects the signals, Ctrl-C among them, so that a training can stop between two steps.

    After the first one, Ctrl-C interrupts at once, and the others change nothing. Does nothing outside the
    main thread.

    Args:
        patient: No Ctrl-C interrupts at once. Launchers of several processes pass a Ctrl-C on that the
            terminal has sent to every process already.

    Yields:
        A function that returns the signal that asked to stop, or None.
    """
    asked: int | None = None

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked is None:
            asked = number
            if not patient and signal.getsignal(signal.SIGINT) is ask:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    with _handling((signal.SIGINT, *_OURS), ask):
        yield lambda: asked


def leave_to_parent() -> None:
    """Makes a worker process ignore what a terminal or a scheduler sends to the whole group of processes.

    SIGTERM still ends it: with that the parent ends its workers.
    """
    _ignore((signal.SIGINT, *(number for number in _OURS if number != signal.SIGTERM)))


@contextmanager
def _handling(numbers: tuple[signal.Signals, ...], handler: _Handler) -> Iterator[None]:
    """Installs a handler for those signals that are not ignored, for the length of the block."""
    before: dict[signal.Signals, Any] = {}
    try:
        for number in numbers:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    except ValueError:  # not the main thread
        before.clear()
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _ignore(numbers: Iterable[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
