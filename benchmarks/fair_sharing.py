"""Does a search's proxy rank what the search was given as training from scratch does?

    python benchmarks/fair_sharing.py [--corpus C] [--size demo|small] [--seeds 3] [--out OUT] [--quick]

Two ways at equal seconds: `biws`, shared weights that are warmed up with known and random layers by turns,
and `none`, new weights with rungs (110 of 220 steps at the demo's size, a candidate goes on if it is among
the better half). Each runs a search of the modern space that is given the known backbones, with a budget of
seconds of processor time (those that `none` takes for its candidates; `biws` goes on until it has had as
many). Each search of `--out` is kept, so that a run that was stopped goes on with the next. The truth are
the losses of the known backbones from scratch at the screening's length, with a learning rate that falls,
another seed, and other batches. Prints one JSON object as its last line: for the way that the preset has,
`kendall_tau` (the mean over seeds of Kendall's tau between the ranking of the known backbones at the end of
the search and the truth) and `best_known_kept` (whether in every search the truly best of them is among the
finalists); under `ways`, for both, these by seed, the seconds, and the ranking. No rung stops a known
backbone. `--quick` takes one seed, twelve candidates and a tenth of the steps: it shows that both ways run,
not how they rank.
"""

import argparse
import contextlib
import json
import shutil
import sys
import time
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import scipy.stats
from result_store import ResultStore, resumable
from rich.console import Console

from autobert_zero.search.comparison import Model, Training
from autobert_zero.search.config import SEEDS, SearchConfig
from autobert_zero.search.finalists import Standing, choose_finalists, standings
from autobert_zero.search.history import History
from autobert_zero.search.loop import Search
from autobert_zero.search.presets import PRESETS
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.trial import Trial
from autobert_zero.search_runs.executors import InProcessExecutor
from autobert_zero.search_runs.finals import Finals
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.training_evaluator import TrainingEvaluator
from autobert_zero.search_runs.twins import function_of
from autobert_zero.settings import resolve

BIWS = {"sharing": "biws", "steps": 40, "batch_size": 32, "rungs": [], "learning_rate": 1e-3, "together": 1}
"""Shared weights with the settings that the demo once had, see docs/search.md."""

WORST = Standing(0, 0.0)
"""Standing of a candidate that diverged or failed."""


class OutOfTime(Exception):
    """The budget of seconds is spent."""


def search(
    config: SearchConfig, out: Path, seconds: float | None
) -> tuple[PreparedSearch, list[Trial], float]:
    """Runs a search without its comparison, until it has spent the seconds or trained all candidates.

    Returns:
        The prepared search; its trials, with the scores at the end of the search; the seconds it took.
    """
    prepared = prepare(config)
    evaluator = prepared.evaluator()
    limits = prepared.limits()
    start = time.process_time()

    def costs(backbone: Any) -> dict[str, float]:
        if seconds is not None and time.process_time() - start > seconds:
            raise OutOfTime
        return limits.costs.of(backbone)

    with RunProgress(Console(quiet=True)) as progress:
        trainer = TrainingEvaluator(
            config.proxy, prepared.space, evaluator, InProcessExecutor(evaluator), out / "bank", progress
        )
        loop = Search(
            make_strategy(prepared.space, config.seed, config.strategy, (), limits.refusal),
            trainer,
            History(f"sqlite:///{out / 'study.db'}"),
            costs=costs,
            function=function_of,
            together=config.proxy.together,
            observer=progress,
        )
        with contextlib.closing(trainer), contextlib.suppress(OutOfTime):
            loop.run(config.proxy.candidates)
    trials = loop.trials
    taken = time.process_time() - start
    if config.proxy.sharing == "biws":  # as the bank ranks them at the end
        known = [trial for trial in trials if trial.proposal.given]
        scores = evaluator.rescore([trial.proposal.backbone for trial in known])
        rescored = {trial.proposal.number: score for trial, score in zip(known, scores, strict=True)}
        return prepared, [*trials, _echo(trials[-1], rescored)], taken
    return prepared, trials, taken


def _echo(last: Trial, rescored: dict[int, float]) -> Trial:
    """The last trial again, as a carrier of the scores at the end of the search."""
    return Trial(last.proposal, last.outcome, rescored)


def compare_with_truth(config: SearchConfig, out: Path, seconds: float | None) -> dict[str, Any]:
    """Compares a search's ranking of the known backbones with their losses from scratch."""
    out.mkdir(parents=True, exist_ok=True)
    prepared, trials, taken = search(config, out, seconds)
    known = [trial for trial in trials[: len(prepared.space.known)] if trial.proposal.given]
    with RunProgress(Console(quiet=True)) as progress:
        executor = InProcessExecutor(prepared.evaluator())
        finals = Finals(prepared, out.parent / f"truth-{config.seed}", progress, executor).train(
            [
                Training(
                    trial.proposal.mutations[0].removeprefix("known: "),
                    Model(trial.proposal.backbone, prepared.model),
                    config.final.screening_steps,
                    config.final.learning_rate,
                    config.seed + SEEDS,
                )
                for trial in known
            ]
        )
    names = [trial.proposal.mutations[0].removeprefix("known: ") for trial in known]
    by_number = standings(trials, config.proxy)
    reached = [by_number.get(trial.proposal.number, WORST) for trial in known]
    losses = [finals[name].selection_loss for name in names]
    finite = [number for number, loss in enumerate(losses) if loss is not None]
    order = {standing: rank for rank, standing in enumerate(sorted(set(reached)))}
    ranks = [order[reached[number]] for number in finite]
    tau = scipy.stats.kendalltau(ranks, [-(losses[number] or 0.0) for number in finite]).statistic
    best = known[min(finite, key=lambda number: losses[number] or 0.0)].proposal.number
    return {
        "kendall_tau": round(float(tau), 3),
        "best_known_kept": best in choose_finalists(trials, config.proxy, config.final.finalists),
        "candidates": len({trial.proposal.number for trial in trials}),
        "seconds": round(taken, 1),
        "known": {
            name: {"from_scratch": loss, "steps": standing.steps, "score": round(standing.score, 4)}
            for name, loss, standing in zip(names, losses, reached, strict=True)
        },
    }


def main() -> None:
    """Runs both methods for every seed and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", default="kjv", help="as search takes it")
    parser.add_argument("--size", choices=("demo", "small"), default="demo", help="whose sizes and budget")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--out", type=Path, help="folder for the searches; a temporary one if left out")
    parser.add_argument("--quick", action="store_true", help="one seed, 12 candidates, a tenth of the steps")
    options = parser.parse_args()
    seeds = range(1 if options.quick else options.seeds)
    methods: dict[str, dict[int, Any]] = {"none": {}, "biws": {}}
    preset = PRESETS[options.size]()
    corpus_name = Path(options.corpus).name
    with resumable(), TemporaryDirectory() as temporary:
        settings = {
            "benchmark": "fair_sharing",
            "quick": options.quick,
            "text": prepare(resolve(preset, {"data": {"corpus": options.corpus}})).corpus.identity,
            **preset.model_dump(mode="json", exclude={"data": {"corpus"}, "seed": True}),
        }
        store = ResultStore(options.out or Path(temporary) / "results", settings)
        for seed in seeds:
            seconds = None
            for method in methods:
                changes: dict[str, Any] = {"seed": seed, "data": {"corpus": options.corpus}}
                changes["proxy"] = {"together": 1} if method == "none" else {**BIWS, "candidates": 10_000}
                if options.quick and method == "none":
                    changes["proxy"]["candidates"] = 12
                config = resolve(preset, changes)
                if options.quick:
                    proxy, final = config.proxy, config.final
                    fewer = {"steps": max(proxy.steps // 10, 4), "warmup_steps": proxy.warmup_steps // 10}
                    screening = {"screening_steps": final.screening_steps // 10}
                    config = resolve(config, {"proxy": fewer, "final": screening})
                name = f"{method}-{seed}"
                if name not in store:
                    shutil.rmtree(store.folder / name, ignore_errors=True)  # of a run that was stopped
                    store[name] = compare_with_truth(config, store.folder / name, seconds)
                result = store[name]
                seconds = result["seconds"] if method == "none" else seconds
                methods[method][seed] = result
                print(f"{method}, seed {seed}: {json.dumps(result)}", file=sys.stderr, flush=True)

    def over_seeds(method: str) -> dict[str, Any]:
        results = list(methods[method].values())
        return {
            "kendall_tau": round(fmean(result["kendall_tau"] for result in results), 3),
            "best_known_kept": all(result["best_known_kept"] for result in results),
        }

    figures = {
        "benchmark": "fair_sharing",
        "quick": options.quick,
        "size": options.size,
        "corpus": corpus_name,
        **over_seeds(preset.proxy.sharing),
        "ways": {method: {**over_seeds(method), "seeds": methods[method]} for method in methods},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
