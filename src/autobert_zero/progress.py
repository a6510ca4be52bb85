"""The progress of long work: bars on a terminal, log lines elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import TimeRemainingColumn as TimeLeft

_FIRST_LOG = 5.0
"""Seconds after which a kind of work is logged for the first time; what is done sooner needs no line."""

_SHORTEST_SILENCE, _LONGEST_SILENCE = 30.0, 600.0
"""Bounds of the seconds between two log lines of the same work: a twentieth of what it has taken so far."""


_VERBOSITY = ContextVar("verbosity", default=0)


@contextmanager
def verbosity(level: int) -> Iterator[None]:
    """Sets what is shown during the block.

    Args:
        level: 0: progress; -1: nothing; 1: progress, and the libraries' own messages.
    """
    token = _VERBOSITY.set(level)
    try:
        yield
    finally:
        _VERBOSITY.reset(token)


def log_console() -> Console:
    """The console of progress and log lines: standard error, so that standard output holds results only."""
    return Console(stderr=True, quiet=_VERBOSITY.get() < 0)


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


@dataclass
class _Stage:
    """A piece of work.

    Attributes:
        start: When its first step was reported.
        first: Number of that step.
        logged: When it was logged last; at first its start.
        task: The bar that shows it.
    """

    start: float
    first: int
    logged: float
    task: TaskID | None = None


class Reporter(Protocol):
    """Receives the progress of long work, for example `Bars`."""

    def say(self, text: str) -> None:
        """Takes a line for the user."""

    def update(self, name: str, done: int, total: int, note: str = "") -> None:
        """Takes the progress of the work of a name; see `Bars.update`."""


class Bars:
    """Progress bars, and lines above them.

    Where the output is not a terminal there are no bars: work that takes long is logged, in a line every half
    minute at first and every ten minutes at last.

    Args:
        console: Console to print to; see `log_console`.
        quiet: Whether to print nothing at all, as in all but one of several processes.
        clock: Returns the current time in seconds.
    """

    def __init__(
        self, console: Console, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console
        self._quiet = quiet
        self._clock = clock
        self._bars = _View(
            self,
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeLeft(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._stages: dict[str, _Stage] = {}
        self._logged: set[str] = set()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bars.disable:  # some versions of rich end also those with an empty line
            self._bars.stop()

    def above(self) -> Iterable[RenderableType]:
        """Lines that stay in view above the bars, on a terminal; none here."""
        return ()

    def say(self, text: str) -> None:
        """Prints a line above the bars."""
        if not self._quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, name: str, done: int, total: int, note: str = "") -> None:
        """Reports progress: moves the bar of this name, which is gone after the last step, or logs a line.

        Args:
            name: Name of the work.
            done: Number of steps done.
            total: Total number of steps.
            note: Additional text, for example the loss.
        """
        stage = self._stages.get(name)
        if stage is None:
            now = self._clock()
            stage = self._stages[name] = _Stage(now, done, now)
        if not self.console.is_terminal:
            self._log(stage, name, done, total, note)
        else:
            if stage.task is None:
                stage.task = self._bars.add_task(name, total=total)
            self._bars.update(stage.task, completed=done, total=total, description=f"{name} {note}".rstrip())
            if done >= total:
                self._bars.remove_task(stage.task)
        if done >= total:
            del self._stages[name]

    def _log(self, stage: _Stage, name: str, done: int, total: int, note: str) -> None:
        now = self._clock()
        elapsed, advanced = now - stage.start, done - stage.first
        silence = min(max(elapsed / 20, _SHORTEST_SILENCE), _LONGEST_SILENCE)
        if now - stage.logged < (silence if name in self._logged else _FIRST_LOG):
            return
        self._logged.add(name)
        stage.logged = now
        parts = [f"{name}: {done:,} of {total:,}", note]
        if advanced > 0 and done < total:
            parts.append(f"about {duration(elapsed / advanced * (total - done))} left")
        self.say(", ".join(filter(None, parts)))


def quiet_transformers() -> None:
    """Silences transformers' messages about new and unused heads.

    Does nothing if the user asked for the libraries' messages, see `verbosity`.
    """
    if _VERBOSITY.get() > 0:
        return
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


class _View(Progress):
    """The bars, below what else stays in view."""

    def __init__(self, owner: Bars, *columns: ProgressColumn, **options: Any) -> None:
        self._owner = owner
        super().__init__(*columns, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from self._owner.above()
        yield from super().get_renderables()
