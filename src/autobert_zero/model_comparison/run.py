"""Compares encoders: one row per encoder and engine."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autobert_zero.devices import find_device
from autobert_zero.errors import UserError
from autobert_zero.model_comparison.engines import INT8, ONNX, PYTORCH, Engine, engines
from autobert_zero.model_comparison.memory import peak_memory
from autobert_zero.model_comparison.models import ComparedEncoder, load_encoder
from autobert_zero.model_comparison.similarity import Pairs, spearman
from autobert_zero.model_comparison.speed import measure_latency

_Progress = Callable[[str, int, int], None]
"""Called with the name of the work, the amount done and the total."""


@dataclass(frozen=True)
class ComparisonRow:
    """An encoder with an engine.

    Attributes:
        model: Name of the encoder.
        engine: Name of the engine.
        parameters: Number of weights.
        megabytes: Size of the file of weights.
        milliseconds: Median time of a batch, by size of the batch.
        memory: Peak megabytes of the largest batch, without the libraries; None if not measured.
        scores: Spearman's correlation in points, by similarity task.
    """

    model: str
    engine: str
    parameters: int
    megabytes: float
    milliseconds: dict[int, float]
    memory: float | None
    scores: dict[str, float] = field(default_factory=dict)

    def sentences_per_second(self) -> float:
        """Sentences per second with the fastest size of batch."""
        return max(1000 * batch / time for batch, time in self.milliseconds.items())

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data, for JSON."""
        return {**asdict(self), "sentences_per_second": self.sentences_per_second()}


def compare_encoders(
    names: Sequence[str],
    tasks: Sequence[Pairs],
    batches: Sequence[int],
    length: int,
    device: str = "auto",
    *,
    with_onnx: bool = True,
    with_int8: bool = False,
    progress: _Progress = lambda name, done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> list[ComparisonRow]:
    """Measures every encoder with every engine that it has.

    Args:
        names: Folders or names on the Hub.
        tasks: Similarity tasks.
        batches: Numbers of sequences in a batch.
        length: Tokens in a sequence.
        device: Device of PyTorch.
        with_onnx: Whether to measure ONNX Runtime too.
        with_int8: Whether to measure ONNX Runtime with 8-bit weights too.
        progress: Shows the progress.
        say: Called with a line for the user.

    Raises:
        UserError: A model cannot be used, or sequences are longer than it takes.
    """
    target = find_device(device)
    encoders = [load_encoder(name) for name in names]
    for encoder in encoders:
        if encoder.positions is not None and length > encoder.positions:
            raise UserError(
                f"{encoder.name} has {encoder.positions} positions, fewer than --length {length}; choose a "
                "shorter length"
            )
    engine_names = [PYTORCH, *([ONNX] if with_onnx else []), *([INT8] if with_int8 else [])]
    with TemporaryDirectory() as temporary:
        opened: list[tuple[ComparedEncoder, Engine, Path | None]] = []
        for number, encoder in enumerate(encoders):
            progress("preparing", number, len(encoders))
            folder = Path(temporary, str(number))
            available = list(engines(encoder, device, engine_names, folder))
            if len(available) < len(engine_names):
                kind = encoder.model.config.model_type
                say(f"{encoder.name}: models of type {kind} are measured with PyTorch only")
            files = {ONNX: folder / "model.onnx", INT8: folder / "int8" / "model.onnx"}
            opened += [(encoder, engine, files.get(engine.name)) for engine in available]
        progress("preparing", len(encoders), len(encoders))
        keys = [str(index) for index in range(len(opened))]
        times = measure_latency(
            {
                key: (engine, encoder.model.config.vocab_size)
                for key, (encoder, engine, _) in zip(keys, opened, strict=True)
            },
            batches,
            length,
            lambda done, total: progress("latency", done, total),
        )
        rows = []
        for key, (encoder, engine, file) in zip(keys, opened, strict=True):
            memory = None
            if file is not None or target.type == "cpu":
                vocabulary = encoder.model.config.vocab_size
                memory = peak_memory(encoder.name, file, max(batches), length, vocabulary)
            scores = {
                pairs.name: spearman(
                    encoder, engine, pairs, partial(progress, f"{pairs.name}, {encoder.name}")
                )
                for pairs in tasks
            }
            rows.append(
                ComparisonRow(
                    encoder.name,
                    engine.name,
                    encoder.parameters,
                    engine.megabytes,
                    times[key],
                    memory,
                    scores,
                )
            )
    return rows
