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
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median
from types import SimpleNamespace
from typing import Any

import psutil
from rich.console import Console

from autobert_zero.config import ModelConfig, ProxyConfig, SearchConfig, StrategyConfig
from autobert_zero.search.history import History
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.search.trial import Outcome, Proposal, Trial
from autobert_zero.search_runs.loop import Search
from autobert_zero.space import Backbone, sample_backbone

FIRST, WINDOW, WINDOWS = 10, 100, 10


class Toy:
    """Evaluator and executor in one: scores without weights."""

    def __init__(self, toy: ToyEvaluator) -> None:
        self.toy = toy
        self.bank = SimpleNamespace(absorb=lambda *trained: None)

    def rescore(self, backbones: Sequence[Backbone]) -> list[float]:
        return [self.toy.evaluate(Proposal(0, backbone)).score or 0.0 for backbone in backbones]

    def warm_up(self, space: Any, on_step: Any) -> None:
        pass

    def save(self, folder: Path, number: int) -> None:
        pass

    def run(
        self, proposals: Sequence[Proposal], bars: Any, snapshot: Any, on_step: Any
    ) -> Iterator[tuple[int, tuple[Outcome, None]]]:
        for place, proposal in enumerate(proposals):
            yield place, (self.toy.evaluate(proposal), None)


class Watch(RunProgress):
    """Notes time and memory of every candidate."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.times: list[float] = []
        self.memory: list[int] = []
        self._process = psutil.Process()

    def candidate(self, trial: Trial) -> None:
        super().candidate(trial)
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
        model=ModelConfig(layers=6),
        strategy=StrategyConfig(population=100, parents=5, children=4),
        proxy=ProxyConfig(candidates=candidates),
    )
    space = config.bounds
    toy: Any = Toy(ToyEvaluator(sample_backbone(Random("target"), space).canonical()))
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Search(
            config=config,
            space=space,
            strategy=make_strategy(space, config.seed, config.strategy),
            evaluator=toy,
            executor=toy,
            costs=lambda backbone: {},
            history=History(f"sqlite:///{folder / 'study.db'}"),
            snapshots=folder / "bank",
            progress=watch,
            board=None,
            trials=[],
        ).run()

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
