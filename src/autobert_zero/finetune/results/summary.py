"""The score of a task from its runs, with trivial scores for comparison."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from autobert_zero.files import read_dataclass, write_text
from autobert_zero.finetune.problem import Problem
from autobert_zero.finetune.results.scores import Divergence, Metrics, Score
from autobert_zero.finetune.training.train import FinetuneResult
from autobert_zero.run_folder import Input


@dataclass(frozen=True)
class _KeptTrivial:
    """Content of the file of trivial scores: the inputs, and metrics by split, then by predictor."""

    inputs: dict[str, str]
    metrics: dict[str, dict[str, dict[str, float]]]


def _covers(trivial: Mapping[str, Mapping[str, Metrics]], problem: Problem) -> bool:
    """Whether trivial scores hold every metric of every split that a task scores."""
    predictors = [values for split in problem.scored for values in trivial.get(split, {}).values()]
    return set(problem.scored) <= trivial.keys() and all(
        set(problem.metrics) <= metrics.keys() for metrics in predictors
    )


def trivial_scores(
    problem: Problem, inputs: Mapping[str, Input], path: Path
) -> Mapping[str, Mapping[str, Metrics]]:
    """The metrics of trivial predictors by split, then by the predictor's name.

    Args:
        problem: The task.
        inputs: Inputs that they depend on.
        path: File to keep them in; read if it exists and has the same inputs.

    Raises:
        UserError: The file is damaged.
    """
    identities = {what: recorded.identity for what, recorded in inputs.items()}
    if path.exists():
        kept = read_dataclass(_KeptTrivial, path, "delete it to compute it again")
        if kept.inputs == identities and _covers(kept.metrics, problem):
            return kept.metrics
    predicted = problem.baselines()
    trivial: dict[str, dict[str, Metrics]] = {
        split: {name: problem.measure(split, splits[split]) for name, splits in predicted.items()}
        for split in problem.scored
    }
    write_text(path, json.dumps({"inputs": identities, "metrics": trivial}, indent=2) + "\n")
    return trivial


def metrics_on_test(problem: Problem, run: FinetuneResult) -> dict[str, Metrics]:
    """The metrics of a training on the test splits that have labels."""
    splits = [split for split in problem.scored if split not in problem.validation]
    return {split: problem.measure(split, run.predictions[split]) for split in splits}


def summarise(
    problem: Problem,
    runs: Sequence[FinetuneResult],
    best: FinetuneResult,
    trivial: Mapping[str, Mapping[str, Metrics]],
    pooling: str | None,
    diverged: Sequence[Divergence] = (),
) -> Score:
    """The result on a task.

    Args:
        problem: The task.
        runs: Runs of all seeds at the chosen rate and pooling.
        best: The best of them on validation.
        trivial: Result of `trivial_scores`.
        pooling: The chosen pooling; None without a choice.
        diverged: The trainings that diverged.
    """
    measured = [run.metrics for run in runs]
    tested = [metrics_on_test(problem, run) for run in runs]
    constant = {}
    for split in problem.scored:
        values = [run.constant[split] for run in runs if split in run.constant]
        if values:
            constant[split] = f"{' or '.join(dict.fromkeys(values))} ({len(values)} of {len(runs)} seeds)"
    return Score(
        task=problem.name,
        rate=runs[0].rate,
        seeds=len(runs),
        mean=_over(measured, fmean),
        spread=_over(measured, _spread),
        best_seed=best.seed,
        pooling=pooling,
        test=_over(tested, fmean),
        test_spread=_over(tested, _spread),
        trivial=trivial,
        constant=constant,
        diverged=diverged,
    )


def _over(
    measured: Sequence[Mapping[str, Metrics]], summary: Callable[[list[float]], float]
) -> dict[str, dict[str, float]]:
    """Summarises the metrics of several runs, by split."""
    return {
        split: {name: summary([run[split][name] for run in measured]) for name in metrics}
        for split, metrics in measured[0].items()
    }


def _spread(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
