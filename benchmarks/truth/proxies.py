"""The proxies that the truth judges: each scores backbones, at about equal seconds per backbone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from random import Random
from statistics import fmean
from typing import Any

import torch

from autobert_zero.nn import WeightBank
from autobert_zero.progress import Bars
from autobert_zero.proxies import PROXIES
from autobert_zero.search.trial import Proposal
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.search_runs.proxy_evaluator import WORST
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone, Graph
from autobert_zero.space.inheritance import inputs_by_role
from autobert_zero.zoo import known_backbones
from truth.proxy_agreement import ProxyScores, as_score, extrapolate_loss, successive_halving

SEED = 1000
"""Random seed of all proxies, different from those of the truth."""
STEPS_PER_ROUND = 40
"""Steps that each backbone trains in a round where weights are shared."""


class RoleBank(WeightBank):
    """Shares projections by what they do (query, key, value, gate) instead of by letter."""

    def _shared_inputs(self, graph: Graph) -> tuple[str, ...]:
        return inputs_by_role(graph)


@dataclass(frozen=True)
class Sharing:
    """A variant of weight sharing.

    Attributes:
        all_kinds: Whether the warm-up trains all kinds of layers equally long; else convolutions only.
        by_role: Whether projections are shared by role.
        recalibrated: Whether each backbone is trained last from the final bank, without writing back, and
            that training scores it.
    """

    all_kinds: bool = True
    by_role: bool = False
    recalibrated: bool = False


SHARING = {
    "shared": Sharing(all_kinds=False),
    "shared, all kinds": Sharing(),
    "shared by role": Sharing(by_role=True),
    "shared, re-calibrated": Sharing(recalibrated=True),
}


def score_with_shared_weights(
    sharing: Sharing, prepared: PreparedSearch, backbones: Sequence[Backbone], steps: int, progress: Bars
) -> ProxyScores:
    """Trains backbones in rounds from shared weights, and scores all with the final bank.

    Args:
        sharing: The variant of weight sharing.
        prepared: Data and sizes.
        backbones: Backbones to score; no others are trained.
        steps: Mean number of steps per backbone; a quarter of them is its share of the warm-up.
        progress: Progress display.
    """
    round_steps = min(STEPS_PER_ROUND, steps)
    rounds = max(round(0.75 * steps / round_steps), 1 + sharing.recalibrated)
    changes = {
        "sharing": "biws",
        "rungs": [],
        "learning_rate": 1e-3,
        "warmup_steps": len(backbones) * steps // 4,
        "warmup_attention_share": 0.5 if sharing.all_kinds else 0.0,
        "steps": round_steps,
        "calibration": 0.0,
        "together": 1,
    }
    config = resolve(prepared.config, {"seed": SEED, "proxy": changes})
    known = tuple(known_backbones(prepared.space).items()) if sharing.all_kinds else ()
    prepared = replace(prepared, config=config, space=replace(prepared.space, known=known))
    torch.set_num_threads(1)
    evaluator = prepared.evaluator()
    if sharing.by_role:
        torch.manual_seed(SEED)
        evaluator.bank = RoleBank(prepared.model, prepared.space.layers)
    clock = time.process_time if prepared.device.type == "cpu" else time.perf_counter
    start = clock()
    evaluator.warm_up(prepared.space, lambda done, total, loss: progress.update("warm-up", done, total))
    random, number = Random(SEED), 0
    for round_ in range(rounds - sharing.recalibrated):
        for backbone in random.sample(backbones, len(backbones)):
            number += 1
            _, trained = evaluator.evaluate(Proposal(number, backbone.canonical()))
            if trained is not None:
                evaluator.bank.absorb(trained)
        progress.update("rounds", round_ + 1, rounds)
    values = evaluator.rescore(backbones)
    if sharing.recalibrated:
        outcomes = [
            evaluator.evaluate(Proposal(proposal, backbone.canonical()))[0]
            for proposal, backbone in enumerate(backbones, number + 1)
        ]
        progress.update("rounds", rounds, rounds)
        values = [WORST if outcome.score is None else outcome.score for outcome in outcomes]
    return ProxyScores(tuple(values), (clock() - start) / len(backbones))


def score_untrained(name: str, prepared: PreparedSearch, backbones: Sequence[Backbone]) -> ProxyScores:
    """Scores backbones with a zero-cost proxy."""
    measure, start = prepared.untrained(name), time.process_time()
    values = tuple(measure(backbone) for backbone in backbones)
    return ProxyScores(values, (time.process_time() - start) / len(backbones))


def scores_from_scratch(
    readings: Sequence[dict[int, dict[str, Any]]], groups: Sequence[int], horizon: float
) -> dict[str, ProxyScores]:
    """The scores of all proxies that need one training from scratch per backbone, measured at rungs.

    Args:
        readings: Measurements of each backbone by rung, see `branched_training.train_all`.
        groups: Attention count of each backbone.
        horizon: Tokens of the truth, for the fit.

    Returns:
        The scores by the name of the proxy.
    """
    rungs = sorted(readings[0])
    losses = [[reading[rung].get("selection_loss") for rung in rungs] for reading in readings]
    scores = [[as_score(loss) for loss in row] for row in losses]
    cost = [fmean(_seconds(reading, rung) for reading in readings) for rung in rungs]
    tokens = [readings[0][rung]["tokens"] for rung in rungs]
    finite = [[loss for loss in row if loss is not None] for row in losses]
    fits = [
        as_score(extrapolate_loss(tokens, row, horizon)) if len(row) == len(rungs) else -inf for row in finite
    ]
    proxies = {
        "from scratch": ProxyScores(tuple(row[-1] for row in scores), cost[-1]),
        "rungs": successive_halving(scores, cost),
        "rungs, one of each attention count": successive_halving(scores, cost, groups),
        "fit over rungs": ProxyScores(tuple(fits), cost[-1]),
    }
    last = [reading[rungs[-1]] for reading in readings]
    if any("minimal_pairs" in reading for reading in last):
        accuracies = [r["minimal_pairs"]["all"] if "minimal_pairs" in r else -inf for r in last]
        seconds = fmean(r["seconds"] + r.get("seconds_pairs", 0.0) for r in last)
        proxies["BLiMP"] = ProxyScores(tuple(accuracies), seconds)
    return proxies


def _seconds(reading: dict[int, dict[str, Any]], rung: int) -> float:
    """Seconds of a training to a rung, with the decay branches and evaluations of the earlier rungs."""
    earlier = [measured for step, measured in reading.items() if step < rung]
    evaluation = sum(measured.get("seconds_measured", 0.0) for measured in (*earlier, reading[rung]))
    branches = sum(measured.get("seconds_falling", 0.0) for measured in earlier)
    return reading[rung]["seconds"] + evaluation + branches


def zero_cost_proxies(
    prepared: PreparedSearch, backbones: Sequence[Backbone]
) -> dict[str, Callable[[], ProxyScores]]:
    """The zero-cost proxies by name; each call computes the scores."""
    return {f"zero-cost: {name}": partial(score_untrained, name, prepared, backbones) for name in PROXIES}
