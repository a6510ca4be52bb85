"""A regression on the evaluations, and searches with every strategy on what it predicts."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from autobert_zero.search.strategies import STRATEGIES
from autobert_zero.search.strategies.derivation import SYMBOLS, symbols
from autobert_zero.space import KERNEL_SIZES, Attention, Backbone
from efficiency.evaluations import outcome_of
from efficiency.figures import Curves
from efficiency.searches import searching
from efficiency.task import Plan, Task


def features(backbone: Backbone) -> list[float]:
    """Features of each layer (kind, kernel, symbols, size, inputs, softmax, mixing), and totals."""
    rows, mixing, attentions = [], 0.0, 0.0
    for layer in backbone.layers:
        chosen = symbols(layer)
        attention = isinstance(layer, Attention)
        mixes, normalised, size, inputs = 1.0, 0.0, 0.0, 0.0
        if isinstance(layer, Attention):
            types = [(node.op, node.type) for node in layer.graph.nodes]
            # Tokens meet in a contraction over n: with an (n, n), or in the (d, d) of keys and values.
            mixes = float("nn" in {type_ for _, type_ in types} or "dd" in {type_ for _, type_ in types})
            normalised = float(("softmax", "nn") in types)
            size, inputs = float(layer.graph.root.size), float(len(layer.graph.inputs))
        rows += [float(attention), *[float(str(layer) == f"conv {kernel}") for kernel in KERNEL_SIZES]]
        rows += [float(chosen.count(symbol)) for symbol in SYMBOLS]
        rows += [mixes, normalised, size, inputs]
        mixing += mixes
        attentions += attention
    return [*rows, mixing, attentions]


class Surrogate:
    """A regression on evaluations, whose predictions replace trainings."""

    def __init__(self, records: Sequence[Mapping[str, Any]], folds: int) -> None:
        from scipy.stats import kendalltau, spearmanr
        from sklearn.base import clone
        from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
        from sklearn.metrics import r2_score
        from sklearn.model_selection import KFold, cross_val_predict

        x = np.array([features(Backbone.from_list(record["backbone"])) for record in records])
        y = np.array([-record["loss"] for record in records])
        models = {
            "gradient boosting": GradientBoostingRegressor(
                n_estimators=400, learning_rate=0.05, max_depth=4, subsample=0.7, random_state=0
            ),
            "extra trees": ExtraTreesRegressor(n_estimators=200, min_samples_leaf=2, random_state=0),
        }
        left_out = KFold(folds, shuffle=True, random_state=0)
        predicted = {
            name: cross_val_predict(model, x, y, cv=left_out, n_jobs=1) for name, model in models.items()
        }
        self.name = max(models, key=lambda name: r2_score(y, predicted[name]))
        self.quality = {
            "model": self.name,
            "evaluations": len(y),
            "folds": folds,
            "r2": float(r2_score(y, predicted[self.name])),
            "spearman": float(spearmanr(y, predicted[self.name]).statistic),
            "kendall": float(kendalltau(y, predicted[self.name]).statistic),
            "r2_of_the_other": float(min(r2_score(y, predictions) for predictions in predicted.values())),
        }
        self.model = clone(models[self.name]).fit(x, y)
        self._scores: dict[str, float] = {}

    def score(self, backbone: Backbone) -> float:
        key = backbone.key()
        if key not in self._scores:
            self._scores[key] = float(self.model.predict(np.array([features(backbone)]))[0])
        return self._scores[key]


def surrogate_curve(surrogate: Surrogate, task: Task, plan: Plan, run: tuple[int, str]) -> list[float]:
    """One search on the surrogate, in a worker process."""
    search: Any = searching(run[1], run[0], task, plan)
    proposal = next(search)
    while True:
        record = {"loss": -surrogate.score(proposal.backbone), "reason": ""}
        try:
            proposal = search.send(outcome_of(record, proposal.backbone))
        except StopIteration as end:
            return end.value


def surrogate_curves(surrogate: Surrogate, task: Task, plan: Plan, workers: int) -> Curves:
    """The curves of every strategy on the surrogate."""
    runs = [(seed, name) for seed in range(plan.surrogate_seeds) for name in STRATEGIES]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        curves = list(pool.map(partial(surrogate_curve, surrogate, task, plan), runs, chunksize=7))
    by_run = dict(zip(runs, curves, strict=True))
    return {
        name: np.array([by_run[seed, name] for seed in range(plan.surrogate_seeds)]) for name in STRATEGIES
    }
