"""What a person sees while something long goes on."""

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

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


class Bars:
    """Progress bars, and lines above them. Where the output is not a terminal, only the lines are printed.

    Args:
        console: Where to.
        quiet: Prints nothing at all, as in all but one of several processes.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console = console
        self._quiet = quiet
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
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def above(self) -> Iterable[RenderableType]:
        """What stays in view above the bars, on a terminal: here nothing."""
        return ()

    def say(self, text: str) -> None:
        """Prints a line above the bars."""
        if not self._quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, name: str, done: int, of: int, note: str = "") -> None:
        """Moves the bar of this name, which appears with the first step and goes with the last."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=of)
        self._bars.update(self._tasks[name], completed=done, total=of, description=f"{name} {note}".rstrip())
        if done >= of:
            self._bars.remove_task(self._tasks.pop(name))


def quiet_transformers() -> None:
    """Keeps it from listing, for every run, that the head is new and the old head is not used."""
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
