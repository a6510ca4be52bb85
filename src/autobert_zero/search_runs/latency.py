"""Measured latency of layers, each measured once in a run."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.measure import measure_forward
from autobert_zero.nn import EncoderConfig
from autobert_zero.search.config import SearchConfig
from autobert_zero.space import Layer
from autobert_zero.training.precision import Precision

_GPU_BATCH = 64
"""Sequences that are measured on a GPU by default: a few take as long as their kernels are many."""


def with_latency_batch(config: SearchConfig, device: torch.device) -> SearchConfig:
    """The config with the batch that latency is measured with, so that it is saved with the run."""
    if config.limits.latency_batch is not None:
        return config
    batch = _GPU_BATCH if config.measures_latency and device.type != "cpu" else 1
    limits = config.limits.model_copy(update={"latency_batch": batch})
    return config.model_copy(update={"limits": limits})


@dataclass(eq=False)
class LatencyTable:
    """Milliseconds of a forward pass by layer, in a file, so that a resumed run decides as it did before.

    A measurement differs from run to run: with a limit or an objective on latency, a run is a function of
    its config, its seed and this file.

    Attributes:
        model: Sizes of the model.
        batch: Number of sequences.
        length: Number of tokens in each.
        device: Device to measure on.
        precision: Number format.
        path: File for the measurements; None: they are not kept until `keep` is called.

    Raises:
        UserError: The file is damaged.
    """

    model: EncoderConfig
    batch: int
    length: int
    device: torch.device
    precision: Precision
    path: Path | None = None
    _times: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.path is not None and self.path.exists():
            try:
                times = json.loads(self.path.read_text(encoding="utf-8"))
                self._times = {str(layer): float(time) for layer, time in times.items()}
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise UserError(f"{self.path} is damaged ({error}); start another run") from None

    def __call__(self, layer: Layer, inner: int | None = None) -> float:
        """Milliseconds of a layer in canonical form, with its feed-forward block.

        Args:
            layer: The layer.
            inner: Inner width of the block; None: that of the model.
        """
        inner = inner or self.model.inner
        key = str(layer) if inner == self.model.inner else f"{layer}; feed-forward {inner}"
        if key not in self._times:
            sizes = replace(self.model, feed_forward=inner)
            seconds = measure_forward(layer, sizes, self.batch, self.length, self.device, self.precision)
            self._times[key] = 1000 * seconds
            if self.path is not None:
                self.keep(self.path)
        return self._times[key]

    def keep(self, path: Path) -> None:
        """Writes the measurements so far, and later ones, into a file."""
        self.path = path
        write_text(path, json.dumps(self._times, indent=2) + "\n")
