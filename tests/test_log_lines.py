"""Bars on a terminal, log lines elsewhere: when a line comes, and what is in it."""

import io
from itertools import pairwise

from rich.console import Console

from autobert_zero.progress import Bars, log_console


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def logged(
    steps: list[tuple[float, int]], total: int = 1000, names: tuple[str, ...] = ("work",)
) -> list[str]:
    """The log lines of work that has so many steps done at these seconds."""
    out, clock = io.StringIO(), Clock()
    bars = Bars(Console(file=out, width=80), clock=clock)
    for seconds, done in steps:
        clock.now = 100.0 + seconds
        for name in names:
            bars.update(name, done, total, "loss 1.500")
    return out.getvalue().splitlines()


def test_what_is_done_soon_needs_no_line() -> None:
    assert logged([(0, 1), (1, 500), (4.9, 1000)]) == []


def test_a_line_after_five_seconds_then_every_half_minute() -> None:
    lines = logged([(second, second * 2) for second in range(101)])
    assert lines[0] == "work: 10 of 1,000, loss 1.500, about 8.2 minutes left"
    assert len(lines) == 4, "after 5, 35, 65 and 95 seconds"


def test_lines_grow_rare_but_do_not_end() -> None:
    day = 24 * 3600
    lines = logged([(second, second) for second in range(0, 2 * day, 5)], total=2 * day)
    assert 100 < len(lines) < 400
    lasts = [int(line.split(":")[1].split(" of ")[0].replace(",", "")) for line in lines]
    assert max(b - a for a, b in pairwise(lasts)) <= 605


def test_the_same_work_again_is_logged_after_half_a_minute_only() -> None:
    """As a candidate is trained after another: the first one is shown, and one that takes very long."""
    out, clock = io.StringIO(), Clock()
    bars = Bars(Console(file=out, width=80), clock=clock)
    for candidate in range(10):
        for step in range(1, 11):
            clock.now = 100.0 + 20 * candidate + step
            bars.update("candidate", step, 10)
    assert len(out.getvalue().splitlines()) == 1


def test_each_work_has_lines_of_its_own() -> None:
    lines = logged([(0, 1), (6, 2)], names=("best", "bert"))
    assert [line.split(":")[0] for line in lines] == ["best", "bert"]


def test_quiet_says_nothing() -> None:
    out, clock = io.StringIO(), Clock()
    bars = Bars(Console(file=out, width=80), quiet=True, clock=clock)
    bars.update("work", 1, 10)
    clock.now += 50
    bars.update("work", 2, 10)
    bars.say("a line")
    assert out.getvalue() == ""


def test_a_terminal_has_bars_and_no_log() -> None:
    out, clock = io.StringIO(), Clock()
    with Bars(Console(file=out, width=100, force_terminal=True), clock=clock) as bars:
        for step in range(1, 11):
            clock.now += 10
            bars.update("work", step, 10, "loss 1.500")
    assert "work" in out.getvalue()
    assert "work: " not in out.getvalue()


def test_logs_go_to_standard_error() -> None:
    assert log_console().stderr
