"""The figures of a training: one JSON object a line, and TensorBoard's events."""

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from autobert_zero.data.cache import written_whole

METRICS = "metrics.jsonl"


class Log:
    """Appends figures.

    Args:
        folder: Of the training.
        step: Steps done; what a run that was killed logged beyond them is dropped, it comes again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        path = folder / METRICS
        if path.exists():
            lines = [line for line in path.read_text("utf-8").splitlines() if _step(line) <= step]
            with written_whole(path) as partial:
                partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

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


def read_log(folder: Path) -> list[dict[str, float]]:
    """All figures, in order."""
    return [json.loads(line) for line in (folder / METRICS).read_text("utf-8").splitlines()]


def _step(line: str) -> float:
    """The step of a line; a line cut by a kill belongs to none."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return float("inf")
