"""The proxies that are judged: each from backbones to scores, at about equal seconds per backbone."""

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
from autobert_zero.search_runs.evaluate import WORST
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone, Graph
from autobert_zero.space.inheritance import inputs_by_role
from autobert_zero.zoo import known_backbones
from truth.judging import Scores, as_score, extrapolated, halving

SEED = 1000
"""Of all proxies: another than those of the truth."""
TURN = 40
"""Steps that a backbone trains at a time where weights are shared."""


class RoleBank(WeightBank):
    """Shares projections by what they do (query, key, value, gate) instead of by letter."""

    def _shared_inputs(self, graph: Graph) -> tuple[str, ...]:
        return inputs_by_role(graph)


@dataclass(frozen=True)
class Sharing:
    """A way to share weights.

    Attributes:
        all_kinds: The warm-up trains all kinds of layers equally long; else convolutions only.
        by_role: Projections are shared by role.
        recalibrated: A backbone's last turn is from the final bank, alone, and scores it.
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


def shared(
    way: Sharing, prepared: PreparedSearch, backbones: Sequence[Backbone], steps: int, progress: Bars
) -> Scores:
    """Trains backbones in turn from shared weights, and scores all with the bank at its end.

    Args:
        way: What is shared, and how it is warmed up.
        prepared: Data and sizes.
        backbones: What is scored; nothing else trains.
        steps: Of an average backbone, its share of the warm-up (a quarter) among them.
        progress: What the user sees.
    """
    turn = min(TURN, steps)
    turns = max(round(0.75 * steps / turn), 1 + way.recalibrated)
    changes = {
        "sharing": "biws",
        "rungs": [],
        "learning_rate": 1e-3,
        "warmup_steps": len(backbones) * steps // 4,
        "warmup_attention_share": 0.5 if way.all_kinds else 0.0,
        "steps": turn,
        "calibration": 0.0,
        "together": 1,
    }
    config = resolve(prepared.config, {"seed": SEED, "proxy": changes})
    known = tuple(known_backbones(prepared.space).items()) if way.all_kinds else ()
    prepared = replace(prepared, config=config, space=replace(prepared.space, known=known))
    torch.set_num_threads(1)
    evaluator = prepared.evaluator()
    if way.by_role:
        torch.manual_seed(SEED)
        evaluator.bank = RoleBank(prepared.model, prepared.space.layers)
    clock = time.process_time if prepared.device.type == "cpu" else time.perf_counter
    start = clock()
    evaluator.warm_up(prepared.space, lambda done, total, loss: progress.update("warm-up", done, total))
    random, number = Random(SEED), 0
    for round_ in range(turns - way.recalibrated):
        for place in random.sample(range(len(backbones)), len(backbones)):
            number += 1
            _, trained = evaluator.evaluate(Proposal(number, backbones[place].canonical()))
            if trained is not None:
                evaluator.bank.absorb(trained)
        progress.update("turns", round_ + 1, turns)
    values = evaluator.rescore(backbones)
    if way.recalibrated:
        outcomes = [
            evaluator.evaluate(Proposal(number + 1 + place, backbone.canonical()))[0]
            for place, backbone in enumerate(backbones)
        ]
        progress.update("turns", turns, turns)
        values = [WORST if outcome.score is None else outcome.score for outcome in outcomes]
    return Scores(tuple(values), (clock() - start) / len(backbones))


def untrained(name: str, prepared: PreparedSearch, backbones: Sequence[Backbone]) -> Scores:
    """A zero-cost proxy."""
    measure, start = prepared.untrained(name), time.process_time()
    values = tuple(measure(backbone) for backbone in backbones)
    return Scores(values, (time.process_time() - start) / len(backbones))


def from_scratch(
    readings: Sequence[dict[int, dict[str, Any]]], groups: Sequence[int], horizon: float
) -> dict[str, Scores]:
    """The proxies that one training from scratch of each backbone gives, which was measured after rungs.

    Args:
        readings: Of each backbone by rungs, see `truth.ladder`.
        groups: Attention counts.
        horizon: Tokens of the truth, for the fit.
    """
    rungs = sorted(readings[0])
    losses = [[reading[rung].get("selection_loss") for rung in rungs] for reading in readings]
    scores = [[as_score(loss) for loss in row] for row in losses]
    cost = [fmean(_seconds(reading, rung) for reading in readings) for rung in rungs]
    tokens = [readings[0][rung]["tokens"] for rung in rungs]
    whole = [[loss for loss in row if loss is not None] for row in losses]
    fits = [as_score(extrapolated(tokens, row, horizon)) if len(row) == len(rungs) else -inf for row in whole]
    ways = {
        "from scratch": Scores(tuple(row[-1] for row in scores), cost[-1]),
        "rungs": halving(scores, cost),
        "rungs, one of each attention count": halving(scores, cost, groups),
        "fit over rungs": Scores(tuple(fits), cost[-1]),
    }
    last = [reading[rungs[-1]] for reading in readings]
    if any("minimal_pairs" in reading for reading in last):
        accuracies = [r["minimal_pairs"]["all"] if "minimal_pairs" in r else -inf for r in last]
        seconds = fmean(r["seconds"] + r.get("seconds_pairs", 0.0) for r in last)
        ways["BLiMP"] = Scores(tuple(accuracies), seconds)
    return ways


def _seconds(reading: dict[int, dict[str, Any]], rung: int) -> float:
    """Of a training to a rung, with the branches and the losses of the rungs before."""
    before = [each for step, each in reading.items() if step < rung]
    measured = sum(each.get("seconds_measured", 0.0) for each in (*before, reading[rung]))
    return reading[rung]["seconds"] + measured + sum(each.get("seconds_falling", 0.0) for each in before)


def cheap_ways(prepared: PreparedSearch, backbones: Sequence[Backbone]) -> dict[str, Callable[[], Scores]]:
    """The zero-cost proxies by name."""
    return {f"zero-cost: {name}": partial(untrained, name, prepared, backbones) for name in PROXIES}
