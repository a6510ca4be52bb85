"""Measured latency of layers, each measured once in a run."""

import json
from pathlib import Path

import torch

from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.measure import measure_forward
from autobert_zero.nn import EncoderConfig
from autobert_zero.space import Layer
from autobert_zero.training.precision import Precision


class LatencyTable:
    """Milliseconds of a forward pass by layer, in a file, so that a resumed run decides as it did.

    A measurement differs from run to run: with a limit or an objective on latency, a run is a function of
    its config, its seed and this file.

    Args:
        model: Sizes.
        batch: Sequences.
        length: Tokens in each.
        device: Device to measure on.
        precision: Number format.
        path: Where the measurements are kept; None: nowhere, until `keep` is called.

    Raises:
        UserError: The file is damaged.
    """

    def __init__(
        self,
        model: EncoderConfig,
        batch: int,
        length: int,
        device: torch.device,
        precision: Precision,
        path: Path | None = None,
    ) -> None:
        self._model = model
        self._batch = batch
        self._length = length
        self._device = device
        self._precision = precision
        self._path = path
        self._times: dict[str, float] = {}
        if path is not None and path.exists():
            try:
                times = json.loads(path.read_text(encoding="utf-8"))
                self._times = {str(layer): float(time) for layer, time in times.items()}
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise UserError(f"{path} is damaged ({error}); start another run") from None

    def __call__(self, layer: Layer) -> float:
        """Milliseconds of a layer in canonical form, with its feed-forward block."""
        key = str(layer)
        if key not in self._times:
            seconds = measure_forward(
                layer, self._model, self._batch, self._length, self._device, self._precision
            )
            self._times[key] = 1000 * seconds
            if self._path is not None:
                self.keep(self._path)
        return self._times[key]

    def keep(self, path: Path) -> None:
        """Writes the measurements so far, and those to come, into a file."""
        self._path = path
        write_text(path, json.dumps(self._times, indent=2) + "\n")
