"""The time of a run over its interruptions."""

import json
import time
from pathlib import Path

from autobert_zero.files import write_text
from autobert_zero.run_folder import RunError


class Clock:
    """Adds up the time of a run over its interruptions, in a file.

    Args:
        path: File of the seconds of each phase.
        start: When the current session started, by `time.perf_counter`.

    Raises:
        RunError: The file is damaged.
    """

    def __init__(self, path: Path, start: float) -> None:
        self._path = path
        self._last = start
        self.seconds: dict[str, float] = {}
        if path.exists():
            try:
                self.seconds.update(json.loads(path.read_text("utf-8")))
            except (ValueError, TypeError) as error:
                raise RunError(f"{path} is damaged ({error}); delete it, only the times are lost") from None

    def stop(self, phase: str) -> None:
        """Adds the time since the last call to a phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now
        write_text(self._path, json.dumps(self.seconds))

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())
