"""Does the 10,000th candidate take as long as the 10th? Time and memory of the search around the training.

    python benchmarks/flat.py [--quick]

The real loop: strategy, fingerprints, Optuna study in SQLite, records; scores come from the toy evaluator in
no time, and nothing is trained. Every window is 100 candidates: the first after candidate 10, the last up to
the end. `time_growth` is the median time of a candidate in the last window over that in the first;
`memory_growth_mb` is what the process has grown by in between. Prints one JSON object as its last line.
"""

import argparse
import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median

import psutil
from rich.console import Console

from autobert_zero.search.config import SearchConfig, SearchModelConfig, StrategyConfig
from autobert_zero.search.history import History
from autobert_zero.search.loop import Search
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.search.training_config import ProxyConfig
from autobert_zero.search.trial import Trial
from autobert_zero.search_runs.twins import function_of
from autobert_zero.space import sample_backbone

FIRST, WINDOW, WINDOWS = 10, 100, 10


class ResourceProgress(RunProgress):
    """Records the time and the memory of the process after every candidate."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.times: list[float] = []
        self.memory: list[int] = []
        self._process = psutil.Process()

    def candidate(self, trial: Trial, count: int, budget: int) -> None:
        super().candidate(trial, count, budget)
        self.times.append(time.perf_counter())
        self.memory.append(self._process.memory_info().rss)
        if len(self.times) % 1000 == 0:
            print(f"{len(self.times):,} candidates", flush=True)


def main() -> None:
    """Runs the search and compares its windows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="1,000 candidates")
    candidates = 1_000 if parser.parse_args().quick else 10_000
    config = SearchConfig(
        model=SearchModelConfig(layers=6),
        strategy=StrategyConfig(population=100, parents=5, children=4),
        proxy=ProxyConfig(candidates=candidates),
    )
    space = config.bounds
    toy = ToyEvaluator(sample_backbone(Random("target"), space).canonical())
    watch = ResourceProgress()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        strategy = make_strategy(space, config.seed, config.strategy)
        history = History(f"sqlite:///{folder / 'study.db'}")
        Search(strategy, toy, history, function=function_of, observer=watch).run(candidates)

    def took(end: int) -> float:
        times = watch.times[end - WINDOW - 1 : end]
        return median(later - earlier for earlier, later in pairwise(times))

    first = FIRST + WINDOW
    done = len(watch.times)
    ends = [first + round(step * (done - first) / (WINDOWS - 1)) for step in range(WINDOWS)]
    print(
        json.dumps(
            {
                "benchmark": "flat",
                "candidates": done,
                "time_growth": round(took(done) / took(first), 3),
                "memory_growth_mb": round((watch.memory[done - 1] - watch.memory[first - 1]) / 1e6, 1),
                "milliseconds": {end: round(1e3 * took(end), 2) for end in ends},
                "megabytes": {end: round(watch.memory[end - 1] / 1e6, 1) for end in ends},
            }
        )
    )


if __name__ == "__main__":
    main()
