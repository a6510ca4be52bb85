"""Candidates a minute with two workers against one, on the same candidates.

    python benchmarks/parallel.py [--quick]

The demo preset's proxy with `proxy.together` 4: a real search, in rounds of alternating order. The figures
are from the end of the first batch to the end of the last, so without the start of workers
(`start_seconds`) and the warm-up, but with re-scoring, merging, snapshots and records. One worker trains on
one thread, so that the result is the same; `against_two_threads` compares with the sequential search
(`proxy.together` 1) on both cores. Prints one JSON object as its last line.
"""

import argparse
import json
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from autobert_zero.search.config import SearchConfig
from autobert_zero.search.history import History
from autobert_zero.search.loop import Search
from autobert_zero.search.presets import demo
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.trial import Trial
from autobert_zero.search_runs.executors import make_executor
from autobert_zero.search_runs.prepare import prepare
from autobert_zero.search_runs.training_evaluator import TrainingEvaluator
from autobert_zero.search_runs.twins import function_of
from autobert_zero.settings import resolve

TOGETHER = 4


class TimedProgress(RunProgress):
    """Records the time of every candidate."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.times: list[float] = []

    def candidate(self, trial: Trial, count: int, budget: int) -> None:
        self.times.append(time.perf_counter())


def candidates_per_minute(config: SearchConfig, workers: int) -> tuple[float, float, list[Any]]:
    """Runs a search.

    Returns:
        Candidates per minute after the first batch, seconds until the first batch, and the scores.
    """
    prepared = prepare(config)
    evaluator = prepared.evaluator()
    with tempfile.TemporaryDirectory() as name:
        out, watch = Path(name), TimedProgress()
        executor = make_executor(prepared, evaluator, workers)
        strategy = make_strategy(prepared.space, config.seed, config.strategy)
        history = History(f"sqlite:///{out / 'study.db'}")
        start = time.perf_counter()
        trainer = TrainingEvaluator(config.proxy, prepared.space, evaluator, executor, out / "bank", watch)
        search = Search(
            strategy,
            trainer,
            history,
            function=function_of,
            together=config.proxy.together,
            observer=watch,
        )
        with closing(executor), closing(trainer):
            search.run(config.proxy.candidates)
        first = config.proxy.together
        rate = (len(watch.times) - first) / (watch.times[-1] - watch.times[first - 1]) * 60
        return rate, watch.times[first - 1] - start, [trial.outcome.score for trial in search.trials]


def main() -> None:
    """Runs all and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 candidates once, instead of 28 three times")
    quick = parser.parse_args().quick
    candidates, rounds = (12, 1) if quick else (28, 3)
    base = resolve(demo(), {"proxy": {"candidates": candidates, "warmup_steps": 20}})
    together = resolve(base, {"proxy": {"together": TOGETHER}})
    rates: dict[str, list[float]] = {"one": [], "two": [], "threads": []}
    starts: list[float] = []
    same = True
    for number in range(rounds):
        runs = [("one", together, 1), ("two", together, 2), ("threads", base, 1)]
        scores = {}
        for name, config, workers in runs if number % 2 == 0 else runs[::-1]:
            rate, start, scores[name] = candidates_per_minute(config, workers)
            rates[name].append(rate)
            starts += [start] if name == "two" else []
        same = same and scores["one"] == scores["two"]
    ratios = [two / one for one, two in zip(rates["one"], rates["two"], strict=True)]
    print(
        json.dumps(
            {
                "benchmark": "parallel",
                "speedup_2_workers": round(median(ratios), 3),
                "speedups": [round(ratio, 3) for ratio in ratios],
                "against_two_threads": round(
                    median(t / s for s, t in zip(rates["threads"], rates["two"], strict=True)), 3
                ),
                "candidates_per_minute": {name: round(median(values), 2) for name, values in rates.items()},
                "start_seconds": round(median(starts), 1),
                "same_scores": same,
                "candidates": candidates,
                "rounds": rounds,
            }
        )
    )


if __name__ == "__main__":
    main()
