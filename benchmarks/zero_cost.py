"""How well zero-cost proxies rank backbones: their rank correlation with the score from scratch.

    python benchmarks/zero_cost.py [--quick] [--cache FILE]

Random backbones of one depth and width are trained from scratch on the embedded corpus with the same recipe,
seed and batches; the score is the negative loss on validation text. Every proxy of the registry, the plain
counts among them, is then measured on fresh weights. Kendall's tau-b has a 95 % bootstrap interval over the
candidates; `within` is tau among the pairs with equally many attention layers only, with its interval.
`between_seeds` (full run) is tau of the score with itself, on the first candidates trained again from another
seed: about what a perfect proxy could reach. Losses that agree to 0.01 nats are ties; a candidate that
diverged ranks last.

Losses are kept in a JSON-lines file by the backbone's key, so that a run that was stopped goes on.
Seconds are of CPU time. Prints one JSON object as its last line.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from autobert_zero.data.batches import evaluation_batches, training_batches
from autobert_zero.nn import MaskedLM
from autobert_zero.proxies import PROXIES, Untrained
from autobert_zero.search.config import SearchConfig
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.rank_correlation import kendall_tau
from autobert_zero.settings import resolve
from autobert_zero.space import Attention, Backbone, sample_backbone
from autobert_zero.training.language import evaluate, guess_limit, language_objective
from autobert_zero.training.loop import Diverged, Recipe, train

STEPS, BATCH, RATE, RESAMPLES = 400, 16, 5e-3, 2000
RESOLUTION = 2
"""Decimals of a loss that count: on the plateau of unigram statistics the rest ranks noise."""
CONFIG = {
    "device": "cpu",
    "precision": "fp32",
    "data": {"length": 32, "vocab_size": 256},
    "model": {"layers": 3, "width": 64},
}


class Losses:
    """Losses of backbones trained from scratch, kept in a file so that none is trained twice.

    Args:
        prepared: Data and sizes.
        path: The JSON-lines file; lines with another number of steps are ignored.
    """

    def __init__(self, prepared: PreparedSearch, path: Path) -> None:
        self._prepared, self._path = prepared, path
        self._validation = evaluation_batches(prepared.data.validation, prepared.vocabulary, 64, 1024)
        self._known: dict[tuple[str, int], dict[str, float | None]] = {}
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        for line in lines:
            if line.endswith("\n"):  # a killed process may leave half a line
                row = json.loads(line)
                if row["steps"] == STEPS:
                    self._known[row["key"], row["seed"]] = row
        if lines and not lines[-1].endswith("\n"):
            path.write_text("".join(lines[:-1]), encoding="utf-8")

    def train(self, backbone: Backbone, seed: int) -> tuple[float, float]:
        """Trains a backbone unless it is in the file.

        Returns:
            The validation loss, infinite if the training diverged, and its seconds.
        """
        key = (backbone.key(), seed)
        if key not in self._known:
            loss, seconds = self._trained(backbone, seed)
            row: dict[str, object] = {
                "key": key[0],
                "seed": seed,
                "steps": STEPS,
                "loss": loss,
                "seconds": seconds,
            }
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row | {"backbone": backbone.to_list()}) + "\n")
            self._known[key] = {"loss": loss, "seconds": seconds}
        record = self._known[key]
        return math.inf if record["loss"] is None else record["loss"], record["seconds"] or 0.0

    def _trained(self, backbone: Backbone, seed: int) -> tuple[float | None, float]:
        prepared, start = self._prepared, time.process_time()
        torch.manual_seed(seed)
        model = MaskedLM(backbone, prepared.model)
        recipe = Recipe(STEPS, BATCH, RATE, precision="fp32")
        batches = training_batches(prepared.data.train, prepared.vocabulary, BATCH, (seed, 0))
        limit = guess_limit(prepared.vocabulary.size)
        try:
            train(model, batches, recipe, language_objective("fp32"), loss_limit=limit)
        except Diverged:
            return None, time.process_time() - start
        loss = evaluate(model, self._validation, "fp32").loss
        return (loss if math.isfinite(loss) else None), time.process_time() - start


Values = NDArray[np.float64]


def kendall(a: Values, b: Values, groups: Values | None = None) -> float:
    """Kendall's tau-b, over all pairs or within groups; 0 if one ranking is constant."""
    tau = kendall_tau(a.tolist(), b.tolist(), None if groups is None else groups.tolist())
    return 0.0 if math.isnan(tau) else tau


def spearman(a: Values, b: Values) -> float:
    """Spearman's rho; 0 if one ranking is constant."""
    rho = float(spearmanr(a, b).statistic)
    return 0.0 if math.isnan(rho) else rho


def interval(measure: Callable[[NDArray[np.int64]], float], count: int) -> list[float]:
    """The measure of all candidates, and the 95 % percentile interval over resampled ones."""
    random = np.random.default_rng(0)
    resampled = [measure(random.integers(count, size=count)) for _ in range(RESAMPLES)]
    result = (measure(np.arange(count)), *np.quantile(resampled, (0.025, 0.975)))
    return [round(float(value), 3) for value in result]


def sample(prepared: PreparedSearch, count: int) -> list[Backbone]:
    """Samples different random backbones, the same ones in every call."""
    random, distinct = Random("zero cost"), dict[str, Backbone]()
    while len(distinct) < count:
        backbone = sample_backbone(random, prepared.space).canonical()
        distinct.setdefault(backbone.key(), backbone)
    return list(distinct.values())


def compare(prepared: PreparedSearch, candidates: Sequence[Backbone], scores: Values) -> dict[str, object]:
    """Measures every proxy on every candidate and ranks by it."""
    batch = evaluation_batches(prepared.data.train, prepared.vocabulary, BATCH, BATCH)[0]
    attentions = np.array(
        [sum(isinstance(layer, Attention) for layer in backbone.layers) for backbone in candidates], float
    )
    taus, within, rhos, seconds, unusable = {}, {}, {}, {}, {}
    by_attentions: dict[str, dict[str, float]] = {
        f"{number:.0f} of {int((attentions == number).sum())}": {} for number in np.unique(attentions)
    }
    count = len(candidates)
    for name, proxy in PROXIES.items():
        measured = Untrained(proxy, prepared.model, batch, prepared.config.seed)
        start = time.process_time()
        values = np.array([measured(backbone) for backbone in candidates])
        seconds[name] = round((time.process_time() - start) / count, 3)
        taus[name] = interval(lambda chosen: kendall(values[chosen], scores[chosen]), count)  # noqa: B023
        within[name] = interval(
            lambda chosen: kendall(values[chosen], scores[chosen], attentions[chosen]),  # noqa: B023
            count,
        )
        rhos[name] = round(spearman(values, scores), 3)
        unusable[name] = int(np.isinf(values).sum())
        for number, group in zip(np.unique(attentions), by_attentions.values(), strict=True):
            chosen = attentions == number
            group[name] = round(kendall(values[chosen], scores[chosen]), 3)
    return {
        "kendall_tau": taus,
        "within": within,
        "spearman": rhos,
        "by_attention_layers": by_attentions,
        "not_finite": unusable,
        "seconds_per_proxy": seconds,
    }


def main() -> None:
    """Trains, measures, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 candidates instead of 60, none twice")
    parser.add_argument("--cache", type=Path, default=Path("runs/zero_cost.jsonl"))
    arguments = parser.parse_args()
    count, repeated = (20, 0) if arguments.quick else (60, 12)
    prepared = prepare(resolve(SearchConfig(), CONFIG))
    arguments.cache.parent.mkdir(parents=True, exist_ok=True)
    losses = Losses(prepared, arguments.cache)
    candidates = sample(prepared, count)
    trained = []
    for number, backbone in enumerate(candidates, start=1):
        trained.append(losses.train(backbone, 0))
        print(f"{number}/{count} loss {trained[-1][0]:.3f} in {trained[-1][1]:.1f} s", flush=True)
    scores = -np.array([loss for loss, _ in trained]).round(RESOLUTION)
    complete = scores[np.isfinite(scores)]
    result = {
        "benchmark": "zero_cost",
        **compare(prepared, candidates, scores),
        "candidates": count,
        "diverged": count - len(complete),
        "loss_quartiles": [round(float(loss), 3) for loss in np.quantile(-complete, (0, 0.25, 0.5, 0.75, 1))],
        "layers": prepared.space.layers,
        "width": prepared.model.width,
        "tokens": STEPS * BATCH * prepared.config.data.length,
        "seconds_per_training": round(float(np.mean([seconds for _, seconds in trained])), 2),
    }
    if repeated:
        second = [losses.train(backbone, 1)[0] for backbone in candidates[:repeated]]
        again = -np.array(second).round(RESOLUTION)
        result["between_seeds"] = interval(lambda chosen: kendall(scores[chosen], again[chosen]), repeated)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
