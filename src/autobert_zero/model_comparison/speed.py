"""Measures encoders' time per batch in turns, so that a slow moment of the machine affects all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

from autobert_zero.model_comparison.engines import Engine

_SECONDS = 2.0
"""Approximate duration in seconds of the measurements per engine and batch size."""

_REPEATS = (5, 50)
"""Minimum and maximum number of measurements."""


def measure_latency(
    engines: Mapping[str, tuple[Engine, int]],
    batches: Sequence[int],
    length: int,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[int, float]]:
    """Measures batches of random tokens without padding.

    Args:
        engines: Engines by name, each with the size of its vocabulary.
        batches: Numbers of sequences in a batch.
        length: Tokens in a sequence.
        watch: Called with the number of measurements done and the total.

    Returns:
        Median time in milliseconds, by name of the engine and batch size.
    """
    random = np.random.default_rng(0)
    times: dict[str, dict[int, list[float]]] = {name: {size: [] for size in batches} for name in engines}
    inputs = {
        (name, size): random.integers(0, vocabulary, (size, length))
        for name, (_, vocabulary) in engines.items()
        for size in batches
    }

    def time_batch(name: str, size: int) -> float:
        ids = inputs[name, size]
        start = time.perf_counter()
        engines[name][0].run(ids, np.ones_like(ids))
        return time.perf_counter() - start

    rounds = {}
    for size in batches:
        for name in engines:
            time_batch(name, size)  # the first call allocates memory and chooses kernels
        slowest = max(time_batch(name, size) for name in engines)
        rounds[size] = int(min(max(_SECONDS / slowest, _REPEATS[0]), _REPEATS[1]))
    done, total = 0, sum(rounds.values()) * len(engines)
    for size in batches:
        for _ in range(rounds[size]):
            for name in engines:
                times[name][size].append(time_batch(name, size))
                done += 1
                watch(done, total)
    return {
        name: {size: 1000 * median(values) for size, values in sizes.items()} for name, sizes in times.items()
    }
