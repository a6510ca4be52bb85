"""The report of `gpu.py`: what fails or takes too long costs its own row only."""

import gc
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from autobert_zero.devices import release_cached_memory

ROOT = Path(__file__).parents[1]
ROW_SECONDS = 120.0
"""Maximum seconds of a row: a model that takes longer to compile is given up."""
_LEAST_SECONDS = 5.0
"""With less time left, no row is begun."""
_SHOWN = 1000
"""Maximum characters of an error."""

V = TypeVar("V")


class Report:
    """Rows of figures by part, each printed to stderr as soon as it is known.

    Attributes:
        parts: The rows of each part: a figure, `skipped`, or an error.
        failed: Whether any row failed.

    Args:
        seconds: Time limit; rows that would start later are skipped.
    """

    def __init__(self, seconds: float) -> None:
        self.parts: dict[str, dict[str, Any]] = {}
        self.failed = False
        self._end = time.perf_counter() + seconds

    def measure(self, part: str, row: str, measure: Callable[[], V]) -> V | None:
        """Measures a row; returns None if that fails or there is no time left."""
        left = self._end - time.perf_counter()
        if left < _LEAST_SECONDS:
            self.add(part, row, "skipped")
            return None
        try:
            with deadline(min(ROW_SECONDS, left)):
                value = measure()
        except Exception as error:  # the other rows are worth having
            self.failed = True
            text = f"failed: {type(error).__name__}: {error}"
            self.add(
                part,
                row,
                text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} ... {text[-_SHOWN // 2 :]}",
            )
            return None
        finally:
            gc.collect()  # a compiled model refers to itself
            release_cached_memory()
        self.add(part, row, value)
        return value

    def add(self, part: str, row: str, value: object) -> None:
        """Adds a row."""
        self.parts.setdefault(part, {})[row] = value
        print(part, row, json.dumps(value), file=sys.stderr, flush=True)


def ratio(one: float | None, other: float | None) -> float | None:
    """The ratio of two figures; None if one is missing."""
    return one / other if one is not None and other else None


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Interrupts the block if it takes longer than some seconds.

    Raises:
        TimeoutError: The block took longer.
    """

    def interrupt(number: int, frame: object) -> None:
        raise TimeoutError(f"it takes longer than {seconds:.0f} seconds")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_module(*arguments: str) -> str:
    """Runs a Python module in a process of its own, and returns its output.

    Raises:
        RuntimeError: The module failed; the message is the end of its output.
    """
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=ROW_SECONDS
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or done.stdout.strip())[-_SHOWN:])
    return done.stdout
