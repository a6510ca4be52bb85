"""What weight sharing saves at equal rank quality, and what makes its ranking better.

    python benchmarks/biws.py [--quick]

A sample of random backbones (3 layers, width 32, the embedded corpus) is trained from scratch for `TRUTH`
steps: that ranking is the truth. Then the same backbones are ranked (a) by shorter trainings from scratch,
each with its own schedule, and (b) by weight sharing: the bank is warmed up, every candidate trains in turn
and writes its weights back, and all are scored with the bank as it stands at the end. Rank quality is
Kendall's tau with the truth. `speedup` is the cost of the training from scratch that ranks as well as the
best weight sharing (its steps interpolated between the horizons measured), over the cost of a candidate
under weight sharing, in seconds of the same run. Several ways of sharing are compared. Everything is kept
in benchmarks/.biws, so that a stopped run continues. Prints one JSON object as its last line.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import torch

from autobert_zero.config import SearchConfig, resolve
from autobert_zero.search.diagnose import Correlation, correlation
from autobert_zero.search.prepare import Setting, prepare
from autobert_zero.search.trial import Proposal
from autobert_zero.space import Backbone, sample_backbone
from autobert_zero.training.loop import Recipe
from autobert_zero.training.scratch import Job, train_all

FOLDER = Path(__file__).parent / ".biws"
BASE = {
    "data": {"vocab_size": 256, "length": 64},
    "model": {"layers": 3, "width": 32, "heads": 4},
    "space": {"max_ops": 8},
    "proxy": {"warmup_steps": 240, "steps": 40, "batch_size": 32, "learning_rate": 2e-3},
    "final": {"batch_size": 16, "learning_rate": 4e-3},
}


@dataclass(frozen=True)
class Sharing:
    """A way of sharing weights.

    Attributes:
        changes: Of the config's `proxy`.
        recalibrate: Updates of each candidate from the final bank before it is scored, not written back.
    """

    changes: dict[str, Any]
    recalibrate: int = 0


WAYS = {
    "as in the presets": Sharing({}),
    "uniform warm-up (fair sampling of both branches)": Sharing({"warmup_attention_share": 0.5}),
    "warm-up four times as long": Sharing({"warmup_steps": 960}),
    "half the steps of each candidate": Sharing({"steps": 20}),
    "re-calibration, 10 steps": Sharing({}, 10),
    "long warm-up and re-calibration": Sharing({"warmup_steps": 960, "steps": 20}, 10),
}


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Plain data of a file, which is made if it is not there."""
    if not path.exists():
        value = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(value) + "\n", encoding="utf-8")
        partial.rename(path)
    return json.loads(path.read_text(encoding="utf-8"))


def from_scratch(setting: Setting, backbones: list[Backbone], steps: int, folder: Path) -> list[Any]:
    """Validation loss (infinite where it diverged) and seconds of each backbone after so many steps."""
    final = setting.config.final
    recipe = Recipe(steps, final.batch_size, final.learning_rate)
    files = [folder / f"{backbone.key()}-{steps}.json" for backbone in backbones]
    jobs = [
        Job(str(file), backbone, setting.model, setting.data, setting.vocabulary, recipe, 0, "cpu")
        for file, backbone in zip(files, backbones, strict=True)
        if not file.exists()
    ]

    def keep(result: Any) -> None:
        loss = math.inf if result.selection_loss is None else result.selection_loss
        kept(Path(result.name), lambda: [loss, result.seconds])

    if jobs:
        train_all(jobs, 2, lambda name, done, of: None, keep)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def shared(config: SearchConfig, backbones: list[Backbone], way: Sharing) -> dict[str, Any]:
    """Scores of all backbones under weight sharing, and seconds for each."""
    config = resolve(config, {"proxy": way.changes})
    setting = prepare(config)
    torch.set_num_threads(1)
    evaluator = setting.evaluator()
    start = time.perf_counter()
    evaluator.warm_up(setting.space, lambda done, of, loss: None)
    order = list(range(len(backbones)))
    Random(0).shuffle(order)
    for number, place in enumerate(order):
        _, trained = evaluator.evaluate(Proposal(number, backbones[place]))
        if trained is not None:
            evaluator.bank.absorb(trained)
    if way.recalibrate:
        tuned = resolve(config, {"proxy": {"steps": way.recalibrate}})
        again = prepare(tuned).evaluator()
        again.bank = evaluator.bank
        outcomes = [again.evaluate(Proposal(1000 + n, b))[0] for n, b in enumerate(backbones)]
        scores = [-1e9 if outcome.score is None else outcome.score for outcome in outcomes]
    else:
        scores = evaluator.rescore(backbones)
    return {"scores": scores, "seconds": (time.perf_counter() - start) / len(backbones)}


def equal_cost(tau: float, horizons: dict[int, Any]) -> tuple[float, bool]:
    """Seconds of the training from scratch whose tau is as good, and whether none of those measured was.

    Between two horizons tau is taken to rise with the logarithm of the seconds.
    """
    before: tuple[float, float] | None = None
    for row in horizons.values():
        now = (row["seconds"], row["tau"].tau)
        if now[1] >= tau:
            if before is None:
                return now[0], False
            share = (tau - before[1]) / (now[1] - before[1])
            return before[0] * (now[0] / before[0]) ** share, False
        before = now
    assert before is not None
    return before[0], True


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 candidates, an eighth of the steps")
    quick = parser.parse_args().quick
    count, truth, shorter = (8, 200, (20, 50)) if quick else (40, 1600, (50, 100, 200, 400, 800))
    folder = FOLDER / ("quick" if quick else "full")
    config = resolve(SearchConfig(), BASE)
    setting = prepare(config)
    random = Random("biws")
    backbones = [sample_backbone(random, setting.space).canonical() for _ in range(count)]

    true = from_scratch(setting, backbones, truth, folder)
    good = [place for place in range(count) if math.isfinite(true[place][0])]
    wanted = [-true[place][0] for place in good]

    def quality(scores: list[float]) -> Correlation:
        return correlation([scores[place] for place in good], wanted)

    horizons: dict[int, Any] = {}
    for steps in shorter:
        results = from_scratch(setting, backbones, steps, folder)
        horizons[steps] = {
            "tau": quality([-loss for loss, _ in results]),
            "seconds": fmean(seconds for _, seconds in results),
        }
    ways: dict[str, Any] = {}
    for number, (name, way) in enumerate(WAYS.items()):
        found = kept(folder / f"way-{number}.json", lambda way=way: shared(config, backbones, way))
        tau = quality(found["scores"])
        scratch, beyond = equal_cost(tau.tau, horizons)
        ways[name] = {
            "tau": tau,
            "seconds": found["seconds"],
            "speedup": round(scratch / found["seconds"], 2),
            "lower_bound": beyond,
        }
    best = max(ways, key=lambda name: ways[name]["tau"].tau)
    attention = [float(sum(hasattr(layer, "graph") for layer in b.layers)) for b in backbones]
    print(
        json.dumps(
            {
                "benchmark": "biws",
                "speedup": ways[best]["speedup"],
                "speedup_is_lower_bound": ways[best]["lower_bound"],
                "kendall_tau": round(ways[best]["tau"].tau, 3),
                "kendall_tau_interval": [round(ways[best]["tau"].low, 3), round(ways[best]["tau"].high, 3)],
                "best": best,
                "ways": {name: row | {"tau": str(row["tau"])} for name, row in ways.items()},
                "from_scratch": {n: row | {"tau": str(row["tau"])} for n, row in horizons.items()},
                "fewer_attentions": str(quality([-number for number in attention])),
                "seconds_truth": round(fmean(seconds for _, seconds in true), 1),
                "candidates": len(good),
                "truth_steps": truth,
            }
        )
    )


if __name__ == "__main__":
    main()
