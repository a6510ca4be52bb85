"""OP-NAS against random search on a toy evaluator with a known optimum.

    python benchmarks/toy_search.py [--quick]

Both have the same number of evaluations and the same seeds, each with its own target backbone. Prints one
JSON object as its last line; `wins_of_20` counts the seeds in which OP-NAS found the better backbone.
"""

import argparse
import json
from random import Random
from statistics import fmean

from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.space import Space, sample_backbone

SEEDS = 20


def best_found(name: str, seed: int, evaluations: int, space: Space) -> float:
    """The best score that a strategy reaches."""
    evaluator = ToyEvaluator(sample_backbone(Random(f"target {seed}"), space).canonical())
    strategy = make_strategy(space, seed, StrategyConfig(name=name, population=30, parents=5))
    trials = Search(strategy, evaluator, MemoryHistory()).run(evaluations)
    return max(trial.outcome.score or 0.0 for trial in trials)


def main() -> None:
    """Runs all seeds and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="150 instead of 300 evaluations")
    evaluations = 150 if parser.parse_args().quick else 300
    space = Space(layers=6)
    op_nas, random = (
        [best_found(name, seed, evaluations, space) for seed in range(SEEDS)] for name in ("op-nas", "random")
    )
    result = {
        "benchmark": "toy_search",
        "evaluations": evaluations,
        "wins_of_20": sum(a > b for a, b in zip(op_nas, random, strict=True)),
        "ties_of_20": sum(a == b for a, b in zip(op_nas, random, strict=True)),
        "op_nas_mean_best": round(fmean(op_nas), 4),
        "random_mean_best": round(fmean(random), 4),
        "optimum": 1.0,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
