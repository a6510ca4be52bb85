"""The log of a training: figures as JSON lines and as TensorBoard events."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autobert_zero.files import written_whole
from autobert_zero.run_folder.names import METRICS_LOG, TENSORBOARD


class Log:
    """Appends figures to the log.

    Args:
        folder: Folder of the training.
        step: Number of steps done; lines of later steps, left by a killed run, are removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        path = folder / METRICS_LOG
        if path.exists():
            lines = [line for line in path.read_text("utf-8").splitlines() if _step(line) <= step]
            with written_whole(path) as partial:
                partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._events.close()

    def write(self, step: int, **figures: float) -> None:
        """Writes the figures of a step."""
        self._file.write(json.dumps({"step": step, **figures}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)


class Meter:
    """Losses and time since the last line of the log, and the total time of training.

    Checkpoints keep its state, so that the first line after a resume equals that of an uninterrupted run.

    Attributes:
        seconds: Time of training so far, without evaluations and checkpoints.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._losses: list[float] = []
        self._since_line = 0.0
        self._mark = time.perf_counter()

    def start(self) -> None:
        """Starts the clock."""
        self._mark = time.perf_counter()

    def add(self, loss: float) -> None:
        """Counts a step that has just ended."""
        now = time.perf_counter()
        self.seconds += now - self._mark
        self._since_line += now - self._mark
        self._mark = now
        self._losses.append(loss)

    def line(self) -> tuple[float, float]:
        """Returns the mean loss and the seconds per step since the last call, and starts over."""
        count = len(self._losses)
        mean, pace = sum(self._losses) / count, self._since_line / count
        self._losses, self._since_line = [], 0.0
        return mean, pace

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time of the block."""
        yield
        self._mark = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint keeps."""
        return {"seconds": self.seconds, "losses": self._losses, "seconds_since_line": self._since_line}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores the state of a checkpoint; older ones hold only the time."""
        self.seconds = state["seconds"]
        self._losses = list(state.get("losses", ()))
        self._since_line = state.get("seconds_since_line", 0.0)


def read_log(folder: Path) -> list[dict[str, float]]:
    """Reads all figures, in order."""
    return [json.loads(line) for line in (folder / METRICS_LOG).read_text("utf-8").splitlines()]


def log_names(figures: Mapping[str, float]) -> dict[str, float]:
    """Renames figures on validation text to their names in the log."""
    return {"validation_loss" if name == "loss" else name: value for name, value in figures.items()}


def describe_figures(figures: Mapping[str, float]) -> str:
    """Figures on validation text as one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in log_names(figures).items())


def _step(line: str) -> float:
    """The step of a line; infinite for an incomplete line, left by a killed run."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return float("inf")
