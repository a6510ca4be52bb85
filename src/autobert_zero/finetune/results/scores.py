"""The result on a task along with trivial ones, and the table over tasks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from autobert_zero.markdown import table

Metrics = Mapping[str, float]
"""Metrics by name."""

_COLUMNS = (
    *("task", "metric", "validation", "trivial on validation", "test", "trivial on test"),
    *("seeds", "rate", "pooling"),
)


@dataclass(frozen=True)
class Divergence:
    """Trainings that diverged and are left out of all means.

    Attributes:
        rate: Their learning rate.
        pooling: Their pooling; None without a choice.
        seeds: Number of them.
    """

    rate: float
    pooling: str | None
    seeds: int


@dataclass(frozen=True)
class Score:
    """The result on a task: of all seeds, at the learning rate and pooling that were best with the first.

    Attributes:
        task: Name of the task.
        rate: The chosen learning rate.
        seeds: Number of seeds whose trainings did not diverge.
        mean: Means over the seeds, by validation split, then by metric.
        spread: Standard deviations over the seeds, likewise; 0 for one seed.
        best_seed: The seed with the best validation score; its weights are kept.
        pooling: The chosen pooling; None without a choice.
        test: Like `mean`, for the test splits with labels; nothing was chosen by them.
        test_spread: Like `spread`, for the test splits.
        trivial: Metrics of trivial predictors, by split, then by predictor.
        constant: For each split with constant predictions, the class or value, and the number of such seeds.
        diverged: The trainings that diverged.
    """

    task: str
    rate: float
    seeds: int
    mean: Mapping[str, Metrics]
    spread: Mapping[str, Metrics]
    best_seed: int = 0
    pooling: str | None = None
    test: Mapping[str, Metrics] = field(default_factory=dict)
    test_spread: Mapping[str, Metrics] = field(default_factory=dict)
    trivial: Mapping[str, Mapping[str, Metrics]] = field(default_factory=dict)
    constant: Mapping[str, str] = field(default_factory=dict)
    diverged: Sequence[Divergence] = ()

    @property
    def average(self) -> float:
        """The mean of all metrics of all validation splits: what a table averages (GLUE's rule)."""
        return fmean(value for split in self.mean.values() for value in split.values())


def score_table(scores: Sequence[Score]) -> str:
    """The scores as a Markdown table, in points, with the average over the tasks where there are several.

    Columns that are empty for all tasks are left out. Remarks below the table name models that predict a
    constant or are no better than a trivial predictor.
    """
    rows = [row for score in scores for row in _score_rows(score)]
    if len(scores) > 1:
        average = fmean(score.average for score in scores)
        rows.append([f"average of {len(scores)} tasks", "", f"{100 * average:.1f}", *[""] * 6])
    kept = [n for n, name in enumerate(_COLUMNS) if any(row[n] for row in rows)]
    lines = table([_COLUMNS[n] for n in kept], [[row[n] for n in kept] for row in rows])
    remarks = [remark for score in scores for remark in _remarks(score)]
    if any(score.seeds == 1 for score in scores):
        remarks.append("One seed: how much another seed would give is not known; do not rank models by it.")
    return "\n".join([*lines, *(line for remark in remarks for line in ("", remark))])


def trivial_line(metrics: Mapping[str, Metrics], metric: str) -> str:
    """The trivial predictors of a split with one metric, in points."""
    return ", ".join(f"{name} {100 * values[metric]:.1f}" for name, values in metrics.items())


def _score_rows(score: Score) -> Iterator[list[str]]:
    """The rows of a task: metrics of validation splits with their test splits, then of other test splits."""
    for validation, test in _paired(list(score.mean), list(score.test)):
        kind = _split_suffix(validation or test or "")
        for metric in score.mean[validation] if validation else score.test[test or ""]:
            row = [f"{score.task}{kind}", metric]
            for split, mean, spread in (
                (validation, score.mean, score.spread),
                (test, score.test, score.test_spread),
            ):
                if split is None:
                    row += ["", ""]
                    continue
                shown = f"{100 * mean[split][metric]:.1f}"
                shown += f" ± {100 * spread[split][metric]:.1f}" if score.seeds > 1 else ""
                shown += " (constant)" if split in score.constant else ""
                row += [shown, trivial_line(score.trivial.get(split, {}), metric)]
            yield [*row, str(score.seeds), f"{score.rate:g}", score.pooling or ""]
    for divergence in score.diverged:
        blank = [""] * 3
        count, rate, pooling = str(divergence.seeds), f"{divergence.rate:g}", divergence.pooling or ""
        yield [score.task, "", "diverged", *blank, count, rate, pooling]


def _paired(validation: list[str], test: list[str]) -> Iterator[tuple[str | None, str | None]]:
    """Each validation split with the test split of its kind, then the other test splits."""
    left = list(test)
    for split in validation:
        alone = len(validation) == len(test) == 1
        suffix = _split_suffix(split)
        match = next((name for name in left if alone or _split_suffix(name) == suffix), None)
        if match is not None:
            left.remove(match)
        yield split, match
    yield from ((None, split) for split in left)


def _split_suffix(split: str) -> str:
    """The suffix of the task's name for a split: ` matched` for `validation_matched`, nothing for `test`."""
    for usual in ("validation", "test"):
        split = split.removeprefix(usual)
    return f" {split.replace('_', ' ').strip()}".rstrip()


def _remarks(score: Score) -> Iterator[str]:
    """Warnings about a result."""
    for split, words in score.constant.items():
        yield f"{score.task}: on {split} the model predicts {words} for every example."
    for split, metrics in (*score.mean.items(), *score.test.items()):
        metric, value = next(iter(metrics.items()))
        better = {
            name: values for name, values in score.trivial.get(split, {}).items() if values[metric] >= value
        }
        if better:
            yield (
                f"{score.task}: on {split} the model ({metric} {100 * value:.1f}) is not better than "
                f"{trivial_line(better, metric)}."
            )
