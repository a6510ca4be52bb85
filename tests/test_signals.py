"""Signals that stop a command."""

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from autobert_zero import cli
from autobert_zero.cli.app import Result, call_continues, command, exit_when_stopped
from autobert_zero.signals import Stopped, interrupting, leave_to_parent, stop_requests

SENT = [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU]
ALL = [signal.SIGINT, *SENT]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Puts the handlers back that a test leaves changed."""
    before = {number: signal.getsignal(number) for number in ALL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _stopped(number: signal.Signals, **options: Any) -> object:
    """The exit code of a command that is sent a signal while it works."""

    def work() -> Result | None:
        signal.raise_signal(number)
        return None

    application = typer.Typer()
    command("", "zoo", group=application, **options)(work)
    with pytest.raises(SystemExit) as left:
        application([])
    return left.value.code


@pytest.mark.parametrize("number", SENT)
def test_what_a_scheduler_sends_interrupts_as_ctrl_c_does(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _stopped(number, stopped=call_continues) == 130
    message = f"stopped; the same call continues (the signal was {number.name})\n"
    assert capsys.readouterr().err == message
    assert signal.getsignal(number) == signal.SIG_DFL


def test_ctrl_c_needs_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    _stopped(signal.SIGINT)
    assert capsys.readouterr().err == "stopped; no result was written: give the same call again\n"


def test_a_command_that_has_not_begun_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 130
    assert capsys.readouterr().err.startswith("stopped; nothing was done yet: give the same call again")


def test_a_library_that_makes_an_error_of_its_own_of_the_interruption_is_stopped_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As pydantic does while it builds a class."""

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGUSR1)
        except KeyboardInterrupt:
            raise ValueError("cannot be built") from None

    with pytest.raises(SystemExit) as left, exit_when_stopped(lambda: "again"):
        work()
    assert (left.value.code, capsys.readouterr().err) == (130, "stopped; again (the signal was SIGUSR1)\n")


def test_errors_of_no_signal_pass() -> None:
    with pytest.raises(ValueError, match="of its own"), exit_when_stopped(lambda: ""):
        raise ValueError("of its own")


def test_one_process_of_several_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    _stopped(signal.SIGTERM, stopped=lambda _: None)
    assert capsys.readouterr().err == ""


def test_a_second_signal_does_not_interrupt_the_clean_up() -> None:
    steps = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            steps.append("cleaned")

    with interrupting(), pytest.raises(Stopped, match="SIGHUP"):
        work()
    assert steps == ["cleaned"]


def test_what_is_ignored_stays_ignored() -> None:
    """As SIGHUP is under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupting(), stop_requests() as asked:
        signal.raise_signal(signal.SIGHUP)
        assert asked() is None
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.parametrize("number", ALL)
def test_a_request_waits_to_be_answered(number: signal.Signals) -> None:
    with stop_requests() as asked:
        assert asked() is None
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        assert asked() == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_several_processes_are_patient() -> None:
    with stop_requests(patient=True) as asked:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert asked() == signal.SIGINT


def test_outside_the_main_thread_nothing_is_installed() -> None:
    answers: list[object] = []

    def work() -> None:
        with interrupting(), stop_requests() as asked:
            answers.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [None]


def test_workers_leave_it_to_the_parent() -> None:
    leave_to_parent()
    for number in ALL:
        expected = signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN
        assert signal.getsignal(number) == expected
