"""What a person sees of a search, on a terminal and elsewhere."""

import io

from rich.console import Console

from autobert_zero.search.progress import RunProgress
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone

BACKBONES = [
    Backbone.parse("conv 3\nconv 5").canonical(),
    Backbone.parse("conv 7\nsoftmax(scale(Q @ K.T)) @ V").canonical(),
    Backbone.parse("Q + K\nconv 9").canonical(),
]
OUTCOMES = [
    Outcome(Status.COMPLETE, -5.0, seconds=1.0),
    Outcome(Status.COMPLETE, -4.0, seconds=2.0),
    Outcome(Status.DIVERGED, reason="loss is nan", seconds=0.5),
    *[Outcome(Status.COMPLETE, -4.5 - number / 10, seconds=1.0) for number in range(6)],
]
TRIALS = [Trial(Proposal(number, BACKBONES[number % 3]), outcome) for number, outcome in enumerate(OUTCOMES)]


def run(console: Console, begun: int = 0) -> RunProgress:
    """A search of the trials above, of which so many are known at its start."""
    progress = RunProgress(console)
    progress.begin(TRIALS[:begun])
    for count, trial in enumerate(TRIALS[begun:], begun + 1):
        progress.candidate(trial, count, len(TRIALS))
    return progress


def view(progress: RunProgress, width: int = 60) -> list[str]:
    """What stays in view."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(*progress.above())
    return [line.strip("│ ") for line in capture.get().splitlines()[1:-1]]


def test_every_candidate_is_a_line_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    run(Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert lines[:3] == [
        "    0 * score  -5.0000    1.0 s  conv 3 | conv 5",
        "    1 * score  -4.0000    2.0 s  conv 7 | softmax(scale(Q @ K.T)) @ V",
        "    2   diverged: loss is nan    0.5 s  Q + K | conv 9",
    ]
    assert len(lines) == len(TRIALS)


def test_a_terminal_keeps_in_view_what_matters() -> None:
    out = io.StringIO()
    progress = run(Console(file=out, width=80, height=40, force_terminal=True))
    printed = [line for line in out.getvalue().splitlines() if " s  " in line]
    assert [line.split()[0] for line in printed] == ["0", "1"]
    seen = view(progress)
    assert seen[:4] == [
        "best -4.0000, candidate 1",
        "conv 7",
        "softmax(scale(Q @ K.T)) @ V",
        "9 candidates: 8 complete, 0 pruned, 0 failed, 1 diverged",
    ]
    assert [line.split()[0] for line in seen[4:]] == ["4", "5", "6", "7", "8"]


def test_a_resumed_run_shows_the_best_of_the_whole() -> None:
    progress = run(Console(file=io.StringIO(), height=40, force_terminal=True), begun=3)
    assert view(progress)[0] == "best -4.0000, candidate 1"
    assert view(progress)[3] == "9 candidates: 8 complete, 0 pruned, 0 failed, 1 diverged"


def test_the_view_fits_the_terminal() -> None:
    deep = Backbone.parse("\n".join(["softmax(scale(Q @ K.T)) @ V"] * 24)).canonical()
    progress = RunProgress(Console(file=io.StringIO(), width=40, height=24, force_terminal=True))
    progress.begin([])
    for number in range(9):
        trial = Trial(Proposal(number, deep), Outcome(Status.COMPLETE, float(number)))
        progress.candidate(trial, number + 1, 9)
    seen = view(progress, width=40)
    assert len(seen) + 2 + 3 <= 24  # the frame, and three bars
    assert "and 14 layers more" in seen
    assert all(len(line) <= 36 for line in seen)


def test_nothing_is_in_view_before_the_first_candidate() -> None:
    assert list(RunProgress(Console(file=io.StringIO(), force_terminal=True)).above()) == []
