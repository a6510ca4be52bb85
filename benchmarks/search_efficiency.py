"""All search strategies at the same number of evaluations, on real training runs and on a surrogate of them.

    python benchmarks/search_efficiency.py [--quick] [--budget-minutes M] [--folder runs/search_efficiency]

An evaluation trains a tiny masked language model from scratch (three layers of width 32, the embedded
corpus), so no score drifts; the score is the negative loss on validation text. It is a function of the
backbone, hence kept in a file that only grows: the script continues where it was stopped. Strategies are
paired: with the same seed they begin with the same random backbones.

Then a model of these evaluations (gradient boosting or a forest, whichever predicts left-out backbones
better) takes the place of training for many more seeds. What it predicts is checked by cross-validation.

Prints one JSON object as its last line. `evaluations_to_random_best`: evaluations until a strategy has
reached what random search of the same seed ends with, over the number of evaluations, mean over seeds. A
seed that never does counts as 1, so the mean is a lower bound where `reached` is below 1; random search
itself gets there half-way on average, by definition. The `pareto` strategy spends part of its evaluations
on small backbones.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import isfinite, nan
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autobert_zero import cost
from autobert_zero.config import DataConfig, ModelConfig, SearchConfig, SpaceConfig, StrategyConfig
from autobert_zero.search.strategies import STRATEGIES, SpaceExhausted, make_strategy
from autobert_zero.search.strategies.derivation import SYMBOLS, symbols
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import KERNELS, Attention, Backbone, Space, sample_backbone

Curves = dict[str, NDArray[np.float64]]
"""Best score so far by strategy, (seeds, evaluations)."""

SIZES = cost.Sizes(width=32, heads=2, inner=128, vocab_size=256, max_positions=64)
"""Pieces of a letter or two: with these the local order is learned within seconds, so that scores differ."""
NOISE_BACKBONES, NOISE_SEEDS = 16, 3


@dataclass(frozen=True)
class Task:
    """What an evaluation is; another task has another file of evaluations.

    Attributes:
        steps: Updates from scratch.
        batch_size: Sequences in a batch.
        learning_rate: Peak.
        validation: Sequences that the score is measured on.
        layers: Depth.
        max_ops: Largest attention.
    """

    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 5e-3
    validation: int = 256
    layers: int = 3
    max_ops: int = 10

    @property
    def space(self) -> Space:
        return Space(self.layers, self.max_ops)


@dataclass(frozen=True)
class Plan:
    """How much is run: evaluations of each search, its first population, paired seeds of both kinds."""

    evaluations: int = 60
    population: int = 10
    seeds: int = 10
    surrogate_seeds: int = 100
    folds: int = 5

    def strategy(self, name: str) -> StrategyConfig:
        return StrategyConfig(name=name, population=self.population, parents=5, children=1)


FULL = Task(), Plan()
QUICK = Task(steps=100), Plan(evaluations=30, population=10, seeds=2, surrogate_seeds=5)


# Evaluations, in worker processes of one thread each.


def start_worker(task: Task) -> None:
    global _setting, _task  # a worker's own, set once at its start
    import signal

    import torch

    from autobert_zero.search.prepare import prepare

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    torch.set_num_threads(1)
    config = SearchConfig(
        device="cpu",
        precision="fp32",
        data=DataConfig(vocab_size=SIZES.vocab_size, length=SIZES.max_positions),
        model=ModelConfig(layers=task.layers, width=SIZES.width, heads=SIZES.heads),
        space=SpaceConfig(max_ops=task.max_ops),
    )
    _setting, _task = prepare(config), task


def evaluate(layers: Sequence[str], seed: int) -> dict[str, Any]:
    """Trains a backbone from scratch; a function of the backbone and the seed."""
    import torch

    from autobert_zero.data.masking import evaluation_batches, training_batches
    from autobert_zero.nn import MaskedLM
    from autobert_zero.training import language
    from autobert_zero.training.loop import Diverged, Recipe, train

    start = time.perf_counter()
    data, vocabulary, task = _setting.data, _setting.vocabulary, _task
    recipe = Recipe(task.steps, task.batch_size, task.learning_rate, precision="fp32")
    torch.manual_seed(seed)
    model = MaskedLM(Backbone.from_list(layers), _setting.model)
    loss: float | None = None
    reason = ""
    try:
        train(
            model,
            training_batches(data.train, vocabulary, task.batch_size, (seed, 0)),
            recipe,
            language.language_objective("fp32"),
            loss_limit=language.guess_limit(vocabulary.size),
        )
        measured = language.evaluate(
            model, evaluation_batches(data.validation, vocabulary, 64, task.validation), "fp32"
        )
        loss = measured.loss if isfinite(measured.loss) else None
        reason = "" if loss is not None else f"validation loss is {measured.loss}"
    except Diverged as error:
        reason = str(error)
    return {
        "key": Backbone.from_list(layers).key(),
        "seed": seed,
        "loss": loss,
        "reason": reason,
        "seconds": time.perf_counter() - start,
        "backbone": list(layers),
    }


class Evaluations:
    """All evaluations of a task by backbone key and seed, in a file of one JSON object a line."""

    def __init__(self, task: Task, folder: Path) -> None:
        identity = hashlib.blake2b(repr((task, SIZES)).encode(), digest_size=4).hexdigest()
        self.path = folder / f"evaluations-{identity}.jsonl"
        self.records: dict[tuple[str, int], dict[str, Any]] = {}
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").split("\n")
            if lines[-1]:  # a kill while the line was written
                self.path.write_text("\n".join([*lines[:-1], ""]), encoding="utf-8")
            for line in lines[:-1]:
                record = json.loads(line)
                self.records[record["key"], record["seed"]] = record

    def add(self, record: dict[str, Any]) -> None:
        self.records[record["key"], record["seed"]] = record
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


def outcome_of(record: Mapping[str, Any], backbone: Backbone) -> Outcome:
    costs = {"parameters": float(cost.parameters(backbone, SIZES))}
    if record["loss"] is None:
        return Outcome(Status.DIVERGED, reason=record["reason"], metrics=costs)
    return Outcome(Status.COMPLETE, -record["loss"], metrics=costs)


# Searches.


def searching(name: str, seed: int, task: Task, plan: Plan) -> Iterator[Proposal]:
    """A search as a generator: yields proposals, is sent outcomes, and returns the best scores so far."""
    strategy = make_strategy(task.space, seed, plan.strategy(name))
    best = -np.inf
    curve: list[float] = []
    while len(curve) < plan.evaluations:
        try:
            proposal = strategy.ask()
        except SpaceExhausted:
            curve += [best] * (plan.evaluations - len(curve))
            break
        outcome: Outcome = yield proposal
        strategy.tell(Trial(proposal, outcome))
        best = max(best, outcome.score if outcome.score is not None else -np.inf)
        curve.append(best)
    return curve


class Real:
    """Runs searches side by side; an evaluation that two of them wait for is made once."""

    def __init__(self, task: Task, plan: Plan, known: Evaluations, workers: int, until: float) -> None:
        self.task, self.plan, self.known, self.until = task, plan, known, until
        self.pool = ProcessPoolExecutor(workers, get_context("spawn"), start_worker, (task,))
        self.most = 2 * workers
        self.running: dict[Future[dict[str, Any]], tuple[str, int]] = {}
        self.made = 0

    def close(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def noise(self) -> dict[str, float]:
        """How much the score varies with the seed of training, against how much it does with the backbone."""
        random = Random("noise")
        backbones = [sample_backbone(random, self.task.space).canonical() for _ in range(NOISE_BACKBONES)]
        for backbone in backbones:
            for seed in range(NOISE_SEEDS):
                self._request(backbone, seed)
        while self.running:
            self._await()
        losses = np.array(
            [
                [self.known.records[backbone.key(), seed]["loss"] or nan for seed in range(NOISE_SEEDS)]
                for backbone in backbones
            ],
            dtype=float,
        )
        losses = losses[~np.isnan(losses).any(axis=1)]
        within = float(np.sqrt(losses.var(axis=1, ddof=1).mean()))
        between = float(losses[:, 0].std(ddof=1))
        return {"sd_seeds": within, "sd_backbones": between, "ratio": within / between}

    def curves(self) -> Curves:
        """Searches seed by seed; those of seeds that all strategies have finished."""
        done: dict[tuple[int, str], list[float]] = {}
        waiting = [(seed, name) for seed in range(self.plan.seeds) for name in STRATEGIES]
        active: dict[tuple[int, str], tuple[Any, Proposal]] = {}
        while (waiting or active) and time.monotonic() < self.until:
            while waiting and len(self.running) < self.most:
                run = waiting.pop(0)
                search = searching(run[1], run[0], self.task, self.plan)
                self._advance(run, search, next(search), active, done)
            if self.running:
                self._await()
            for run, (search, proposal) in list(active.items()):
                if (proposal.backbone.key(), 0) in self.known.records:
                    del active[run]
                    self._advance(run, search, proposal, active, done)
        while self.running:  # what was begun when the time was up is kept
            self._await()
        complete = [s for s in range(self.plan.seeds) if all((s, name) in done for name in STRATEGIES)]
        if len(complete) < 2:
            raise SystemExit("fewer than two seeds are finished; run again with more --budget-minutes")
        return {name: np.array([done[seed, name] for seed in complete]) for name in STRATEGIES}

    def _advance(
        self,
        run: tuple[int, str],
        search: Any,
        proposal: Proposal,
        active: dict[tuple[int, str], tuple[Any, Proposal]],
        done: dict[tuple[int, str], list[float]],
    ) -> None:
        """Goes on with a search until it needs an evaluation that is not known."""
        try:
            while record := self.known.records.get((proposal.backbone.key(), 0)):
                proposal = search.send(outcome_of(record, proposal.backbone))
        except StopIteration as end:
            done[run] = end.value
            print(f"seed {run[0]} {run[1]}: best {end.value[-1]:.4f}", flush=True)
            return
        active[run] = search, proposal
        self._request(proposal.backbone, 0)

    def _request(self, backbone: Backbone, seed: int) -> None:
        what = backbone.key(), seed
        if what not in self.known.records and what not in self.running.values():
            self.running[self.pool.submit(evaluate, backbone.to_list(), seed)] = what

    def _await(self) -> None:
        finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
        for future in finished:
            del self.running[future]
            self.known.add(future.result())
            self.made += 1


# The surrogate.


def features(backbone: Backbone) -> list[float]:
    """By position: kind, kernel, counts of symbols, size, inputs, softmax over tokens, mixing; and totals."""
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
        rows += [float(attention), *[float(str(layer) == f"conv {kernel}") for kernel in KERNELS]]
        rows += [float(chosen.count(symbol)) for symbol in SYMBOLS]
        rows += [mixes, normalised, size, inputs]
        mixing += mixes
        attentions += attention
    return [*rows, mixing, attentions]


class Surrogate:
    """A regression on evaluations; what it predicts takes the place of training."""

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
            "r2_of_the_other": float(min(r2_score(y, each) for each in predicted.values())),
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
    runs = [(seed, name) for seed in range(plan.surrogate_seeds) for name in STRATEGIES]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        curves = list(pool.map(partial(surrogate_curve, surrogate, task, plan), runs, chunksize=7))
    by_run = dict(zip(runs, curves, strict=True))
    return {
        name: np.array([by_run[seed, name] for seed in range(plan.surrogate_seeds)]) for name in STRATEGIES
    }


# Figures.


def interval(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % bootstrap interval of the mean over the first axis."""
    random = np.random.default_rng(0)
    picked = random.integers(len(values), size=(2000, len(values)))
    means = np.stack([values[rows].mean(axis=0) for rows in picked])
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return low, high


def summary(curves: Curves) -> dict[str, Any]:
    """What the curves of paired seeds say."""
    from scipy.stats import wilcoxon

    seeds, evaluations = curves["random"].shape
    goal = curves["random"][:, -1]
    result: dict[str, Any] = {"seeds": seeds, "evaluations": evaluations, "strategies": {}}
    for name, curve in curves.items():
        there = curve >= goal[:, None]
        reached = there.any(axis=1)
        needed = np.where(reached, there.argmax(axis=1) + 1, evaluations) / evaluations
        low, high = interval(needed)
        mean = curve.mean(axis=0)
        passed = mean >= goal.mean()
        result["strategies"][name] = {
            "evaluations_to_random_best": round(float(needed.mean()), 4),
            "interval": [round(float(low), 4), round(float(high), 4)],
            "reached": round(float(reached.mean()), 4),
            "mean_curve_reaches": round((int(passed.argmax()) + 1) / evaluations, 4)
            if passed.any()
            else None,
            "final_best_mean": round(float(mean[-1]), 5),
        }
    result["op_nas_against"] = {}
    for name, curve in curves.items():
        if name == "op-nas":
            continue
        difference = curves["op-nas"][:, -1] - curve[:, -1]
        low, high = interval(difference)
        result["op_nas_against"][name] = {
            "mean_difference": round(float(difference.mean()), 5),
            "interval": [round(float(low), 5), round(float(high), 5)],
            "wins": int((difference > 0).sum()),
            "ties": int((difference == 0).sum()),
            "wilcoxon_p": round(float(wilcoxon(difference).pvalue), 5) if difference.any() else 1.0,
        }
    return result


def curves_as_json(curves: Curves) -> dict[str, Any]:
    result = {}
    for name, curve in curves.items():
        low, high = interval(curve)
        figures = {"mean": curve.mean(axis=0), "low": low, "high": high}
        result[name] = {key: [round(float(value), 5) for value in line] for key, line in figures.items()}
    return result


def draw(kinds: Mapping[str, Curves], path: Path) -> None:
    """Best so far with 95 % intervals, a panel for each kind of evaluation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(kinds), figsize=(6 * len(kinds), 4.5), squeeze=False)
    for panel, (title, curves) in zip(panels[0], kinds.items(), strict=True):
        for name, curve in curves.items():
            low, high = interval(curve)
            steps = np.arange(1, curve.shape[1] + 1)
            (line,) = panel.plot(
                steps, curve.mean(axis=0), label=name, linewidth=2.5 if name == "op-nas" else 1.2
            )
            panel.fill_between(steps, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
        shown = [curve[:, min(4, curve.shape[1] - 1) :] for curve in curves.values()]
        bottom, top = min(c.mean(axis=0).min() for c in shown), max(c.mean(axis=0).max() for c in shown)
        panel.set_ylim(bottom, top + 0.08 * (top - bottom))
        panel.set_title(f"{title}, {len(curves['random'])} seeds")
        panel.set_xlabel("evaluations")
        panel.set_ylabel("best score so far (negative loss)")
        panel.grid(alpha=0.3)
    panels[0][-1].legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


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
    real = Real(task, plan, known, options.workers, start + 60 * options.budget_minutes)
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
