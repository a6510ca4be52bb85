"""What weight sharing saves at equal rank quality, and what makes its ranking better.

    python benchmarks/biws.py [--quick]

40 random backbones (3 layers, width 32, the embedded corpus) are trained from scratch for 1,600 steps: that
ranking is the truth. Then they are ranked (a) by shorter trainings from scratch, each with its own schedule,
and (b) by weight sharing: the bank is warmed up, 160 random backbones, the 40 among them, train in turn and
write their weights back, and all are scored with the bank as it stands at the end. Rank quality is Kendall's
tau with the truth, for weight sharing the mean over three seeds. `speedup` is the cost of the training from
scratch that ranks as well (between the horizons measured, tau is taken to rise with the logarithm of the
cost), over the cost of a candidate under weight sharing: warm-up, training and both scorings, in seconds of
the same machine, two processes of one thread at a time in both cases. It is that of the fastest way of
sharing with a tau of 0.6 or more; if there is none, of the one with the highest tau. Everything is kept in
benchmarks/.biws, so that a stopped run continues. Prints one JSON object as its last line.
The file is long because one call runs all of its parts.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor

from autobert_zero.nn import WeightBank
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.trial import Proposal
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone, Convolution, sample_backbone
from autobert_zero.training.loop import Recipe
from autobert_zero.training.scratch import Job, train_all

FOLDER = Path(__file__).parent / ".biws"
BASE = {
    "data": {"vocab_size": 256, "length": 64},
    "model": {"layers": 3, "width": 32, "heads": 4},
    "space": {"max_ops": 8},
    "proxy": {
        "warmup_steps": 240,
        "steps": 20,
        "batch_size": 16,
        "learning_rate": 4e-3,
        "calibration": 0.0,  # one of the variants below
    },
    "final": {"batch_size": 16, "learning_rate": 4e-3},
}
GOOD = 0.6


@dataclass(frozen=True)
class Plan:
    """The amount of work.

    Attributes:
        checked: Number of candidates whose truth is known.
        sharing: Number of candidates that share weights, the checked ones among them.
        seeds: Number of runs of each variant of weight sharing.
        truth: Steps of the trainings from scratch that are the truth.
        shorter: Steps of the shorter trainings from scratch.
    """

    checked: int = 40
    sharing: int = 160
    seeds: int = 3
    truth: int = 1600
    shorter: tuple[int, ...] = (50, 100, 200, 400, 800)


FULL = Plan()
QUICK = Plan(8, 16, 2, 200, (20, 50))


@dataclass(frozen=True)
class Sharing:
    """A variant of weight sharing.

    Attributes:
        changes: Changed settings of the section `proxy`.
        recalibrate: Steps of each candidate from the final bank before it is scored, not written back.
        alone: Whether only the candidates whose truth is known share weights.
        separate: Whether attentions and convolutions have their own feed-forward blocks and norms.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    recalibrate: int = 0
    alone: bool = False
    separate: bool = False


VARIANTS = {
    "20 steps of 16, warm-up on convolutions": Sharing(),
    "uniform warm-up (fair sampling of both branches)": Sharing({"warmup_attention_share": 0.5}),
    "warm-up four times as long": Sharing({"warmup_steps": 960}),
    "40 candidates instead of 160": Sharing(alone=True),
    "half the rate": Sharing({"learning_rate": 2e-3}),
    "re-calibration, 20 steps": Sharing(recalibrate=20),
    "feed-forward and norms of the two branches apart": Sharing(separate=True),
}


class SeparateBank(WeightBank):
    """A bank with separate feed-forward blocks and norms for convolutions and attentions."""

    def __init__(self, shared: WeightBank) -> None:
        super().__init__(shared.config, shared.layers)
        self.tensors = dict(shared.tensors)
        for name in [name for name in self.tensors if _is_common(name)]:
            self.tensors[f"convolution/{name}"] = self.tensors[name].clone()
        self.moments = {
            key: {name: torch.zeros_like(tensor) for name, tensor in self.tensors.items()}
            for key in self.moments
        }

    def _pairs(
        self, backbone: Backbone, owned: Mapping[str, Tensor], bank: Mapping[str, Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for name, own in owned.items():
            if _is_common(name) and isinstance(backbone.layers[int(name.split(".")[2])], Convolution):
                yield own, bank[f"convolution/{name}"]
            else:
                yield from super()._pairs(backbone, {name: own}, bank)


def _is_common(name: str) -> bool:
    """Whether attention layers and convolution layers both have a tensor of this name."""
    return name.startswith("encoder.layers.") and ".attention." not in name and ".convolution." not in name


def _result(waiting: Mapping[Any, Future[Any]], run: Any) -> Any:
    """Waits for a run in another process, and returns its result."""
    return waiting[run].result()


def cached(path: Path, make: Callable[[], Any]) -> Any:
    """Reads plain data from a JSON file, which is written first if it is missing."""
    if not path.exists():
        value = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(value) + "\n", encoding="utf-8")
        partial.rename(path)
    return json.loads(path.read_text(encoding="utf-8"))


def from_scratch(prepared: PreparedSearch, backbones: list[Backbone], steps: int, folder: Path) -> list[Any]:
    """Trains backbones from scratch; returns the validation loss (inf if diverged) and seconds of each."""
    final = prepared.config.final
    recipe = Recipe(steps, final.batch_size, final.learning_rate)
    files = [folder / f"{backbone.key()}-{steps}.json" for backbone in backbones]
    jobs = [
        Job(str(file), backbone, prepared.model, prepared.data, prepared.vocabulary, recipe, 0, "cpu")
        for file, backbone in zip(files, backbones, strict=True)
        if not file.exists()
    ]

    def keep(result: Any) -> None:
        loss = math.inf if result.selection_loss is None else result.selection_loss
        cached(Path(result.name), lambda: [loss, result.seconds])

    if jobs:
        train_all(jobs, 2, lambda name, done, total: None, keep)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def shared(variant: Sharing, plan: Plan, seed: int) -> dict[str, Any]:
    """Scores the checked backbones by weight sharing, with the seconds per candidate; in a worker process."""
    torch.set_num_threads(1)
    config = resolve(SearchConfig(), BASE | {"seed": seed}, {"proxy": variant.changes})
    prepared = prepare(config)
    backbones = sample(prepared, plan.checked if variant.alone else plan.sharing)
    evaluator = prepared.evaluator()
    if variant.separate and isinstance(evaluator.bank, WeightBank):
        evaluator.bank = SeparateBank(evaluator.bank)
    start = time.perf_counter()
    evaluator.warm_up(prepared.space, lambda done, total, loss: None)
    order = list(range(len(backbones)))
    Random(seed).shuffle(order)
    for number, index in enumerate(order):
        _, trained = evaluator.evaluate(Proposal(number, backbones[index].canonical()))
        if trained is not None:
            evaluator.bank.absorb(trained)
    seconds = (time.perf_counter() - start) / len(backbones)
    start = time.perf_counter()
    checked = backbones[: plan.checked]
    if variant.recalibrate:
        again = prepare(resolve(config, {"proxy": {"steps": variant.recalibrate}})).evaluator()
        again.bank = evaluator.bank
        outcomes = [
            again.evaluate(Proposal(number, backbone.canonical()))[0]
            for number, backbone in enumerate(checked, 1000)
        ]
        scores = [-1e9 if outcome.score is None else outcome.score for outcome in outcomes]
    else:
        scores = evaluator.rescore(checked)
    return {"scores": scores, "seconds": seconds + (time.perf_counter() - start) / len(checked)}


def sample(prepared: PreparedSearch, count: int) -> list[Backbone]:
    """Samples the same backbones in every call; a larger sample begins with the smaller one."""
    random = Random("biws")
    return [sample_backbone(random, prepared.space).canonical() for _ in range(count)]


def quality(scores: Sequence[Sequence[float]], truth_scores: Sequence[float]) -> dict[str, Any]:
    """Mean Kendall's tau of several rankings with the truth, its 95 % bootstrap interval over candidates."""

    def mean(indices: Any) -> float:
        truth = np.asarray(truth_scores)[indices]
        return fmean(float(kendalltau(np.asarray(ranking)[indices], truth).statistic) for ranking in scores)

    random = np.random.default_rng(0)
    count = len(truth_scores)
    drawn = [mean(random.integers(count, size=count)) for _ in range(500)]
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    taus = [round(float(kendalltau(ranking, truth_scores).statistic), 3) for ranking in scores]
    return {
        "tau": round(mean(slice(None)), 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "of_each_seed": taus,
    }


def equal_cost(tau: float, horizons: dict[int, Any]) -> tuple[float, bool]:
    """Seconds of a training from scratch with the same tau, interpolated in their logarithm.

    Returns:
        The seconds, and whether they are only a lower bound, since no horizon reaches the tau.
    """
    before: tuple[float, float] | None = None
    for row in horizons.values():
        current = (row["seconds"], row["tau"])
        if current[1] >= tau:
            if before is None:
                return current[0], False
            share = (tau - before[1]) / (current[1] - before[1])
            return before[0] * (current[0] / before[0]) ** share, False
        before = current
    assert before is not None
    return before[0], True


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="8 candidates, an eighth of the steps")
    quick = parser.parse_args().quick
    plan = QUICK if quick else FULL
    folder = FOLDER / ("quick" if quick else "full")
    prepared = prepare(resolve(SearchConfig(), BASE))
    backbones = sample(prepared, plan.checked)

    truth = from_scratch(prepared, backbones, plan.truth, folder)
    good = [index for index, (loss, _) in enumerate(truth) if math.isfinite(loss)]
    truth_scores = [-truth[index][0] for index in good]

    def agreement(*rankings: Sequence[float]) -> dict[str, Any]:
        return quality([[scores[index] for index in good] for scores in rankings], truth_scores)

    horizons: dict[int, Any] = {}
    for steps in plan.shorter:
        results = from_scratch(prepared, backbones, steps, folder)
        horizons[steps] = agreement([-loss for loss, _ in results]) | {
            "seconds": round(fmean(seconds for _, seconds in results), 3)
        }
    runs = [(number, seed) for number in range(len(VARIANTS)) for seed in range(plan.seeds)]
    files = {run: folder / f"way-{run[0]}-{run[1]}.json" for run in runs}
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        waiting = {
            run: pool.submit(shared, list(VARIANTS.values())[run[0]], plan, run[1])
            for run in runs
            if not files[run].exists()
        }
        results_of_runs = {run: cached(files[run], partial(_result, waiting, run)) for run in runs}
    rows: dict[str, Any] = {}
    for number, name in enumerate(VARIANTS):
        seeds_of_variant = [results_of_runs[number, seed] for seed in range(plan.seeds)]
        row = agreement(*[result["scores"] for result in seeds_of_variant])
        seconds = fmean(result["seconds"] for result in seeds_of_variant)
        scratch, beyond = equal_cost(row["tau"], horizons)
        rows[name] = row | {
            "seconds": round(seconds, 3),
            "speedup": round(scratch / seconds, 2),
            "lower_bound": beyond,
        }
    enough = [name for name in rows if rows[name]["tau"] >= GOOD]
    best = (
        max(enough, key=lambda name: rows[name]["speedup"])
        if enough
        else max(rows, key=lambda name: rows[name]["tau"])
    )
    attention = [float(sum(hasattr(layer, "graph") for layer in b.layers)) for b in backbones]
    print(
        json.dumps(
            {
                "benchmark": "biws",
                "speedup": rows[best]["speedup"],
                "kendall_tau": rows[best]["tau"],
                "kendall_tau_interval": rows[best]["interval"],
                "best": best,
                "ways": rows,
                "from_scratch": horizons,
                "fewer_attentions": agreement([-number for number in attention]),
                "seconds_truth": round(fmean(seconds for _, seconds in truth), 1),
                "candidates": len(good),
                "candidates_that_share": plan.sharing,
                "truth_steps": plan.truth,
                "seeds": plan.seeds,
            }
        )
    )


if __name__ == "__main__":
    main()
