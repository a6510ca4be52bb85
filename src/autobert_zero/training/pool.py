"""Worker processes on this machine: they end with their parent, and one that dies is replaced.

They use deterministic kernels if their parent does.
"""

import multiprocessing
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from autobert_zero.devices import VISIBLE_CARDS, make_deterministic, release_cached_memory
from autobert_zero.errors import UserError
from autobert_zero.memory import keep_freed_memory
from autobert_zero.signals import leave_to_parent

_STARTED, _PROGRESS, _RESULT, _ERROR = "started", "progress", "result", "error"

Report = Callable[..., None]
"""Reports the progress of a call: any values, which are passed to the parent's `on_progress`."""


@dataclass(frozen=True)
class WorkerDied:
    """The result of a call whose worker died repeatedly.

    Attributes:
        reason: Why, for messages.
    """

    reason: str


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    connection: Connection


class WorkerPool:
    """Processes that run calls, each one at a time.

    Args:
        workers: Number of workers.
        threads: Number of PyTorch's threads in each; None for PyTorch's default.
        cards: Values of `CUDA_VISIBLE_DEVICES`, of which worker i gets the (i modulo their number)th and sees
            it as `cuda:0`. If empty, all workers see what this process sees.
        max_deaths: Number of deaths of its worker, while no other call runs, after which a call has failed;
            with 0 no call is repeated.
    """

    def __init__(
        self, workers: int, threads: int | None = None, max_deaths: int = 2, cards: Sequence[str] = ()
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        # Workers end with this pipe, which closes when the pool is closed and when its process dies. Setting
        # an event instead would wait for a worker that died while it waited for the event.
        self._end, self._open = self._context.Pipe(duplex=False)
        self._threads = threads
        self._max_deaths = max_deaths
        self._cards = cards
        self._number = workers
        self._workers: dict[int, _Worker] = {}  # started when there is something to do
        self._ready: set[int] = set()  # those that have imported the program and take calls

    def run(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        on_progress: Callable[..., None] = lambda *values: None,
    ) -> Iterator[tuple[int, Any]]:
        """Calls `function(*arguments, report)` for each call, in any order.

        A call whose worker dies is repeated while no other call runs: where memory ran out, the system may
        have killed the worker of an innocent call.

        Args:
            function: Importable in a new process.
            calls: Arguments of each call.
            on_progress: Called in this process with the values that a call reports.

        Yields:
            The index of each call with what it returned, or with a `WorkerDied`.

        Raises:
            UserError: A worker cannot be started; close the pool then.
            Exception: A call raised it; close the pool then.
        """
        waiting, idle = deque(range(len(calls))), deque(range(self._number))
        running: dict[Connection, tuple[int, int]] = {}
        alone: list[int] = []
        while waiting or running:
            while waiting and idle:
                number, index = idle.popleft(), waiting.popleft()
                running[self._start(number, function, calls[index])] = number, index
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                number, index = running[ready]
                message = self._message(number)
                if message is not None and message[0] in (_STARTED, _PROGRESS):
                    if message[0] == _PROGRESS:
                        on_progress(*message[1])
                    continue
                del running[ready]
                idle.append(number)
                if message is None:
                    alone.append(index)
                else:
                    yield index, _returned(message)
        for index in sorted(alone):
            yield index, self._alone(function, calls[index], on_progress)

    def dismiss(self) -> None:
        """Ends the workers, which are idle, and so frees their memory; later calls start others."""
        for number in list(self._workers):
            self._forget(number)

    def close(self) -> None:
        """Ends the workers, also in the middle of a call."""
        self._open.close()
        for worker in self._workers.values():
            worker.connection.close()
            worker.process.join()
        self._end.close()

    def _alone(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], on_progress: Callable[..., None]
    ) -> Any:
        for _ in range(self._max_deaths):
            self._start(0, function, arguments)
            while (message := self._message(0)) is not None:
                if message[0] == _PROGRESS:
                    on_progress(*message[1])
                elif message[0] != _STARTED:
                    return _returned(message)
        return WorkerDied(f"its worker died {self._max_deaths} times; it may need more memory than there is")

    def _start(self, number: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Connection:
        """Sends a call to a worker; starts a new worker if there is none or it died while idle."""
        if number in self._workers:
            try:
                self._workers[number].connection.send((function, arguments))
                return self._workers[number].connection
            except (BrokenPipeError, ConnectionResetError):
                self._forget(number)
        connection, theirs = self._context.Pipe()
        card = self._cards[number % len(self._cards)] if self._cards else None
        deterministic = torch.are_deterministic_algorithms_enabled()
        arguments_of_worker = (theirs, self._end, self._threads, deterministic)
        process = self._context.Process(target=_serve, args=arguments_of_worker, daemon=True)
        with _visible(card):
            process.start()
        theirs.close()  # so that the connection closes when the worker dies
        self._workers[number] = _Worker(process, connection)
        with suppress(BrokenPipeError, ConnectionResetError):  # it died at once; its connection is closed
            connection.send((function, arguments))
        return connection

    def _message(self, number: int) -> tuple[str, Any] | None:
        """The next message of a worker; None if it died.

        Raises:
            UserError: It exited by itself before it could take a call.
        """
        try:
            message: tuple[str, Any] = self._workers[number].connection.recv()
        except (EOFError, ConnectionResetError):
            ready, code = number in self._ready, self._forget(number)
            if ready or code < 0:  # the system ends processes by a signal
                return None
            raise UserError(
                f"a worker process ended with code {code} before it began: each imports the script that "
                'started the program, so the script has to do its work under if __name__ == "__main__":'
            ) from None
        if message[0] == _STARTED:
            self._ready.add(number)
        return message

    def _forget(self, number: int) -> int:
        """Forgets a worker that died, or that ends since it is idle; returns its exit code."""
        worker = self._workers.pop(number)
        self._ready.discard(number)
        worker.connection.close()
        worker.process.join()
        return worker.process.exitcode or 0


@contextmanager
def _visible(card: str | None) -> Iterator[None]:
    """Lets processes that are started see one card only; with None, what this process sees.

    A worker itself would be late: it first imports the user's program, which may already use CUDA.
    """
    before = os.environ.get(VISIBLE_CARDS)
    if card is not None:
        os.environ[VISIBLE_CARDS] = card
    try:
        yield
    finally:
        if before is not None:
            os.environ[VISIBLE_CARDS] = before
        elif card is not None:
            del os.environ[VISIBLE_CARDS]


def _returned(message: tuple[str, Any]) -> Any:
    kind, value = message
    if kind == _ERROR:
        raise value
    return value


def _serve(connection: Connection, end: Connection, threads: int | None, deterministic: bool) -> None:
    """Runs calls in a worker until its parent ends."""
    keep_freed_memory()
    leave_to_parent()
    if threads is not None:
        torch.set_num_threads(threads)
    if deterministic:
        make_deterministic()

    def end_with_the_parent() -> None:
        end.poll(None)
        os._exit(1)  # in the middle of a call: a worker leaves nothing behind

    threading.Thread(target=end_with_the_parent, daemon=True).start()
    connection.send((_STARTED, None))

    def report(*values: Any) -> None:
        connection.send((_PROGRESS, values))

    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            message = (_RESULT, function(*arguments, report))
        except Exception as error:
            error.add_note(f"In a worker process:\n{traceback.format_exc()}")
            message = (_ERROR, error)
        release_cached_memory()  # others may compute on the same card
        try:
            connection.send(message)
        except Exception as error:  # what cannot be pickled
            connection.send((_ERROR, RuntimeError(f"{error} (of {message[1]!r})")))
