"""All search strategies at the same number of evaluations, on real training runs and on a surrogate of them.

    python benchmarks/search_efficiency.py [--quick] [--budget-minutes M] [--folder runs/search_efficiency]

An evaluation trains a tiny masked language model from scratch (three layers of width 32, the embedded
corpus), so no score drifts; the score is the negative loss on validation text. It is a function of the
backbone, so each evaluation is kept in a file and made only once: the script continues where it was stopped.
Strategies are paired: with the same seed they begin with the same random backbones.

Then a surrogate of these evaluations (gradient boosting or a forest, whichever predicts left-out backbones
better) replaces training for many more seeds. Its predictions are checked by cross-validation.

Prints one JSON object as its last line. `evaluations_to_random_best` is the share of its evaluations that a
strategy needs to reach the final best score of random search with the same seed, averaged over seeds. A seed
that never reaches it counts as 1, so the mean is a lower bound if `reached` is below 1; random search itself
reaches it half-way on average, by definition. The `pareto` strategy spends part of its evaluations on small
backbones.
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from efficiency.evaluations import Evaluations, start_worker
from efficiency.figures import curves_as_json, draw, summary
from efficiency.searches import TrainedSearches
from efficiency.surrogate import Surrogate, surrogate_curves
from efficiency.task import FULL, QUICK, SIZES


def main() -> None:
    """Runs both phases and writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2 seeds of 30 short evaluations")
    parser.add_argument("--budget-minutes", type=float, default=float("inf"), help="of real evaluations")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread")
    parser.add_argument("--seeds", type=int, help="paired seeds of the real searches")
    parser.add_argument("--evaluations", type=int, help="of each search")
    parser.add_argument("--steps", type=int, help="updates of an evaluation")
    parser.add_argument("--folder", type=Path, default=Path("runs/search_efficiency"))
    options = parser.parse_args()
    task, plan = QUICK if options.quick else FULL
    task = replace(task, steps=options.steps or task.steps)
    plan = replace(
        plan,
        seeds=options.seeds or plan.seeds,
        evaluations=options.evaluations or plan.evaluations,
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    start_worker(task)  # tokenises once, before the workers do
    known = Evaluations(task, options.folder)
    start = time.monotonic()
    real = TrainedSearches(task, plan, known, options.workers, start + 60 * options.budget_minutes)
    try:
        noise = real.noise()
        print(f"noise {noise}", flush=True)
        curves = real.curves()
    finally:
        real.close()
    minutes = (time.monotonic() - start) / 60
    records = [record for record in known.records.values() if record["seed"] == 0]
    complete = [record for record in records if record["loss"] is not None]
    surrogate = Surrogate(complete, plan.folds)
    print(f"surrogate {surrogate.quality}", flush=True)
    predicted = surrogate_curves(surrogate, task, plan, options.workers)
    figures = {"real": summary(curves), "surrogate": summary(predicted)}
    result = {
        "benchmark": "search_efficiency",
        "quick": options.quick,
        "task": asdict(task) | asdict(SIZES),
        "evaluations_to_random_best": {
            kind: {name: each["evaluations_to_random_best"] for name, each in summed["strategies"].items()}
            for kind, summed in figures.items()
        },
        **figures,
        "noise": {name: round(value, 5) for name, value in noise.items()},
        "surrogate_quality": {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in surrogate.quality.items()
        },
        "distinct_evaluations": len(records),
        "diverged": len(records) - len(complete),
        "seconds_per_evaluation": round(float(np.mean([record["seconds"] for record in records])), 3),
        "minutes_of_this_call": round(minutes, 1),
    }
    name = "search_efficiency-quick" if options.quick else "search_efficiency"
    draw({"trained from scratch": curves, "surrogate": predicted}, options.folder / f"{name}.png")
    with_curves = result | {
        "curves": {"real": curves_as_json(curves), "surrogate": curves_as_json(predicted)}
    }
    (options.folder / f"{name}.json").write_text(json.dumps(with_curves) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
