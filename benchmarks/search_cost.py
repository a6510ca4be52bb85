"""Seconds per candidate with weight sharing against training it from scratch to the same loss.

    python benchmarks/search_cost.py [--quick]

Runs OP-NAS with the demo preset's proxy on the embedded corpus, then trains a sample of the candidates,
spread over the search, from scratch until each reaches the validation loss it was scored with. The cost of
weight sharing includes the warm-up, spread over all candidates. A candidate that needs more than the
largest number of steps counts with those (`censored`), so `speedup` is then a lower bound.
Prints one JSON object as its last line.
"""

import argparse
import json
import time
from collections.abc import Sequence
from statistics import fmean, median

import torch

from autobert_zero.data.batches import evaluation_batches, training_batches
from autobert_zero.data.splits import spread
from autobert_zero.nn import MaskedLM
from autobert_zero.search.evaluator import IndependentEvaluator
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.presets import demo
from autobert_zero.search.strategies import make_strategy
from autobert_zero.search.trial import Outcome, Proposal, Trial
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.settings import resolve
from autobert_zero.training.language import evaluate, language_objective
from autobert_zero.training.loop import Recipe, train

CHECK_EVERY = 20


class _Reached(Exception):
    """The model has reached the loss that it had under weight sharing."""


def seconds_from_scratch(prepared: PreparedSearch, trial: Trial, max_steps: int) -> tuple[float, bool]:
    """Trains from scratch to the trial's loss.

    Returns:
        Seconds of training, without the checks of the loss, and whether the loss was reached.
    """
    proxy, target = prepared.config.proxy, trial.outcome.metrics["val_loss"]
    torch.manual_seed(prepared.config.seed)
    model = MaskedLM(trial.proposal.backbone, prepared.model)
    validation = evaluation_batches(
        prepared.data.validation, prepared.vocabulary, 2 * proxy.batch_size, proxy.validation_sequences
    )
    # The rate decays over the largest number of steps, so it is near its peak where the loss is reached.
    recipe = Recipe(max_steps, proxy.batch_size, proxy.learning_rate, warmup=0.02)
    batches = training_batches(prepared.data.train, prepared.vocabulary, proxy.batch_size, (1, 1))
    start, checking = time.perf_counter(), 0.0

    def check(step: int, _: float) -> None:
        nonlocal checking
        if step % CHECK_EVERY:
            return
        before = time.perf_counter()
        loss = evaluate(model, validation, recipe.precision).loss
        model.train()
        checking += time.perf_counter() - before
        if loss <= target:
            raise _Reached

    try:
        train(model, batches, recipe, language_objective(recipe.precision), check)
    except _Reached:
        return time.perf_counter() - start - checking, True
    return time.perf_counter() - start - checking, False


class Shared(IndependentEvaluator):
    """Trains candidates from a bank that is already warmed up, without snapshots.

    Args:
        evaluator: The evaluator with the bank.
    """

    def __init__(self, evaluator: ProxyEvaluator) -> None:
        super().__init__(self._outcome)
        self._evaluator = evaluator

    def rescore(self, contenders: Sequence[Trial], trials: Sequence[Trial]) -> dict[int, float]:
        scores = self._evaluator.rescore([trial.proposal.backbone for trial in contenders])
        return {trial.proposal.number: score for trial, score in zip(contenders, scores, strict=True)}

    def _outcome(self, proposal: Proposal) -> Outcome:
        outcome, trained = self._evaluator.evaluate(proposal)
        if trained is not None:
            self._evaluator.bank.absorb(trained)
        return outcome


def main() -> None:
    """Runs both and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="12 candidates instead of 40, 3 of them compared"
    )
    quick = parser.parse_args().quick
    candidates, compared, max_steps = (12, 3, 600) if quick else (40, 10, 2000)
    config = resolve(demo(), {"proxy": {"candidates": candidates}})
    prepared = prepare(config)
    evaluator = prepared.evaluator()
    strategy = make_strategy(prepared.space, config.seed, config.strategy)

    start = time.perf_counter()
    evaluator.warm_up(prepared.space, lambda done, total, loss: None)
    warmup = time.perf_counter() - start
    trials = Search(strategy, Shared(evaluator), MemoryHistory()).run(candidates)
    shared = (time.perf_counter() - start) / candidates

    complete = [trial for trial in trials if trial.outcome.score is not None]
    sample = [complete[index] for index in spread(len(complete), compared)]
    scratch = [seconds_from_scratch(prepared, trial, max_steps) for trial in sample]
    print(
        json.dumps(
            {
                "benchmark": "search_cost",
                "speedup": round(fmean(seconds for seconds, _ in scratch) / shared, 2),
                "seconds_shared": round(shared, 3),
                "seconds_shared_without_warmup": round(shared - warmup / candidates, 3),
                "seconds_scratch_mean": round(fmean(seconds for seconds, _ in scratch), 2),
                "seconds_scratch_median": round(median(seconds for seconds, _ in scratch), 2),
                "censored": sum(not reached for _, reached in scratch),
                "compared": len(sample),
                "candidates": candidates,
            }
        )
    )


if __name__ == "__main__":
    main()
