"""What a person sees while a search runs."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeft

from autobert_zero.search.trial import Status, Trial


class RunProgress:
    """Progress bars with the current best, and one line per candidate.

    Where the output is not a terminal, only the lines are printed.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeLeft(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "RunProgress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Prints a line above the bars."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, name: str, done: int, of: int, note: str = "") -> None:
        """Moves the bar of this name, which appears with the first step and goes with the last."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=of)
        self._bars.update(self._tasks[name], completed=done, total=of, description=f"{name} {note}".rstrip())
        if done >= of:
            self._bars.remove_task(self._tasks.pop(name))

    def candidate(self, trial: Trial, best: float | None) -> None:
        """Prints the line of a candidate."""
        outcome = trial.outcome
        if outcome.status is Status.COMPLETE and outcome.score is not None:
            mark = "*" if best is None or outcome.score >= best else " "
            result = f"{mark} score {outcome.score:8.4f}"
        else:
            result = f"  {outcome.status.value}: {outcome.reason}"
        layers = " | ".join(trial.proposal.backbone.to_list())
        self.say(f"{trial.proposal.number:5d} {result} {outcome.seconds:6.1f} s  {layers}")
