"""The progress display of a search."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from autobert_zero.errors import counted
from autobert_zero.progress import Bars
from autobert_zero.search.board import Board
from autobert_zero.search.loop import Observer
from autobert_zero.search.trial import Status, Trial

_LAST = 5
_AROUND = 13  # lines of the terminal that the rest of the view and the bars take


class RunProgress(Bars, Observer):
    """Progress bars, and one line per candidate.

    On a terminal the best so far, the counts and the last candidates stay in view above the bars, and only
    candidates that set a new best are printed permanently.

    Args:
        console: Console that is written to.
        quiet: Whether to print nothing at all.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self._board: Board | None = None
        self._counts: Counter[Status] = Counter()
        self._best: Trial | None = None
        self._last: deque[str] = deque(maxlen=_LAST)
        super().__init__(console, quiet)  # asks for what is in view

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._board is not None:
            self._board.close()

    def log(self, board: Board | None) -> None:
        """Sets the board that logs the figures of candidates; None: no logs."""
        self._board = board

    def begin(self, trials: Sequence[Trial]) -> None:
        """Continues a run after its trials so far."""
        for trial in trials:
            self._note(trial)

    @property
    def best(self) -> str:
        """The best score so far in words; empty if there is none."""
        return "" if self._best is None else f"best {self._best.outcome.score:.4f}"

    def candidate(self, trial: Trial, count: int, budget: int) -> None:
        """Shows a candidate, and the progress of the search."""
        self._note(trial)
        outcome, leads = trial.outcome, self._best is trial
        if outcome.status is Status.COMPLETE and outcome.score is not None:
            result = f"{'*' if leads else ' '} score {outcome.score:8.4f}"
        else:
            result = f"  {outcome.status.value}: {outcome.reason}"
        layers = " | ".join(trial.proposal.backbone.to_list())
        line = f"{trial.proposal.number:5d} {result} {outcome.seconds:6.1f} s  {layers}"
        self._last.append(line)
        if leads or not self.console.is_terminal:
            self.say(line)
        self.update("search", count, budget, self.best)

    def _note(self, trial: Trial) -> None:
        score = trial.outcome.score
        self._counts[trial.outcome.status] += 1
        if score is not None and (self._best is None or score >= (self._best.outcome.score or 0.0)):
            self._best = trial
        if self._board is not None:
            self._board.write(trial)

    def above(self) -> Iterable[RenderableType]:
        """The best so far with its layers, the counts, and the last candidates."""
        if not self._counts:
            return
        lines = []
        if self._best is not None:
            lines.append(Text(f"{self.best}, candidate {self._best.proposal.number}", "bold"))
            layers = self._best.proposal.backbone.to_list()
            shown = max(self.console.height - _AROUND, 1)
            if len(layers) > shown:
                layers = [*layers[: shown - 1], f"and {len(layers) - shown + 1} layers more"]
            lines += [Text(f"  {layer}") for layer in layers]
        counts = ", ".join(f"{self._counts[status]} {status.value}" for status in Status)
        lines.append(Text(f"{counted(self._counts.total(), 'candidate')}: {counts}"))
        lines += [Text(line, "dim") for line in self._last]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        yield Panel(Group(*lines), title="search", title_align="left", border_style="dim")
