"""Asks how far to trust a run's ranking: its shared-weight scores against training from scratch."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import scipy.stats

from autobert_zero.announce import estimate_line, machine_line, model_line
from autobert_zero.errors import UserError
from autobert_zero.estimate import TrainingStage
from autobert_zero.files import written_whole
from autobert_zero.progress import Bars
from autobert_zero.run_folder.names import BANK, DIAGNOSED, DIAGNOSIS
from autobert_zero.search.trial import Status, Trial
from autobert_zero.search_runs.folder import history_of, read_run_start, setting_of_run
from autobert_zero.search_runs.prepare import Setting
from autobert_zero.search_runs.snapshots import restore_snapshot
from autobert_zero.training.loop import Recipe
from autobert_zero.training.scratch import Job, Result, default_workers, read_result, train_all
from autobert_zero.zoo import bert

_RESAMPLES = 2000
_FEWEST = 5
"""With fewer candidates an interval says nothing."""


@dataclass(frozen=True)
class Correlation:
    """Agreement of two rankings.

    Attributes:
        tau: Kendall's tau-b: 1 the same order, 0 none in common, -1 the reverse.
        low: Lower end of a 95 % interval (bootstrap over candidates).
        high: Upper end.
    """

    tau: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.tau:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def correlation(one: Sequence[float], other: Sequence[float]) -> Correlation:
    """Kendall's tau with its bootstrap interval.

    Args:
        one: Scores of candidates.
        other: Other scores of the same, in the same order; at least one differs from the rest in each.
    """
    random = Random(0)
    pairs = list(zip(one, other, strict=True))
    taus: list[float] = []
    while len(taus) < _RESAMPLES:
        xs, ys = zip(*random.choices(pairs, k=len(pairs)), strict=True)
        if len(set(xs)) > 1 and len(set(ys)) > 1:
            taus.append(float(scipy.stats.kendalltau(xs, ys).statistic))
    taus.sort()
    whole = float(scipy.stats.kendalltau(one, other).statistic)
    return Correlation(whole, taus[round(0.025 * _RESAMPLES)], taus[round(0.975 * _RESAMPLES) - 1])


def run_diagnosis(
    out: Path, candidates: int, longer: int, progress: Bars, device: str | None = None
) -> dict[str, Any]:
    """Trains a sample of a run's candidates from scratch, at two horizons.

    The nearer horizon is the tokens that the shared weights had seen when the first candidate was scored.
    What was trained stays in the folder, so that a diagnosis that was stopped goes on where it was.

    Args:
        out: The run folder.
        candidates: How many; evenly spaced by score.
        longer: The farther horizon, in units of the nearer one.
        progress: What the user sees.
        device: Where to train; None: where the run did.

    Returns:
        What `diagnosis.json` holds.

    Raises:
        UserError: There is no such run, or it has too few scored candidates.
    """
    config, _ = read_run_start(out)
    if device is not None:
        config = config.model_copy(update={"device": device})
    setting = setting_of_run(out, config, progress.update)
    trials = history_of(out, setting).load()
    if config.proxy.sharing == "none":
        raise UserError(f"the search in {out} shared no weights (proxy.sharing: none): nothing to diagnose")
    evaluator = setting.evaluator()
    restore_snapshot(evaluator.bank, out / BANK, len(trials), progress.say)
    sample = _sample(trials, candidates)
    shared = evaluator.rescore([trial.proposal.backbone for trial in sample])
    proxy, final = config.proxy, config.final
    for line in (setting.text, model_line(config.model.layers, setting.model)):
        progress.say(line)
    progress.say(machine_line(setting.device, config.precision))
    near = max(round((proxy.warmup_steps + proxy.steps) * proxy.batch_size / final.batch_size), 1)
    parts = [
        TrainingStage(
            f"{steps} steps",
            bert(config.model.layers),
            config.data.length,
            final.batch_size,
            len(sample) * steps * final.batch_size,
        )
        for steps in (near, longer * near)
    ]
    progress.say(f"{len(sample)} candidates from scratch, {near:,} and {longer * near:,} steps each")
    progress.say(estimate_line(parts, setting.model, config.precision, setting.device))
    horizons: dict[int, dict[str, Any]] = {}
    for steps in (near, longer * near):
        results = _train_sample(setting, out / DIAGNOSED, sample, steps, progress)
        whole = [place for place, result in enumerate(results) if result.selection_loss is not None]
        if len(whole) < _FEWEST:
            raise UserError(f"only {len(whole)} of {len(results)} candidates did not diverge from scratch")
        scratch = [-(results[place].selection_loss or 0.0) for place in whole]
        horizons[steps] = {
            "steps": steps,
            "tokens": results[whole[0]].tokens,
            "candidates": len(whole),
            "shared_vs_scratch": asdict(correlation([shared[place] for place in whole], scratch)),
            "recorded_vs_scratch": asdict(
                correlation([sample[place].outcome.score or 0.0 for place in whole], scratch)
            ),
            "seconds_scratch": fmean(results[place].seconds for place in whole),
            "losses": {str(sample[place].proposal.number): results[place].selection_loss for place in whole},
        }
    both = [n for n in horizons[near]["losses"] if n in horizons[longer * near]["losses"]]
    between = correlation(*([-horizons[steps]["losses"][number] for number in both] for steps in horizons))
    found = {
        "horizons": list(horizons.values()),
        "between_horizons": asdict(between),
        "seconds_shared": fmean(trial.outcome.seconds for trial in sample),
        "shared": {str(t.proposal.number): score for t, score in zip(sample, shared, strict=True)},
        "backbones": {str(trial.proposal.number): trial.proposal.backbone.to_list() for trial in sample},
    }
    with written_whole(out / DIAGNOSIS) as partial:
        partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def diagnosis_report(found: dict[str, Any]) -> str:
    """A diagnosis in words."""
    near, far = found["horizons"]
    lines = [
        "Kendall's tau (95 % interval), shared weights against training from scratch:",
        "",
        "| tokens from scratch | candidates | bank as it is now | as recorded | seconds per candidate |",
        "|---|---|---|---|---|",
    ]
    for row in (near, far):
        now, recorded = (Correlation(**row[key]) for key in ("shared_vs_scratch", "recorded_vs_scratch"))
        lines.append(
            f"| {row['tokens']:,} | {row['candidates']} | {now} | {recorded} | {row['seconds_scratch']:.1f} |"
        )
    lines += [
        "",
        f"The two horizons agree with each other: {Correlation(**found['between_horizons'])}. "
        f"A candidate under weight sharing took {found['seconds_shared']:.1f} s.",
        diagnosis_verdict(found),
    ]
    return "\n".join(lines)


def diagnosis_verdict(found: dict[str, Any]) -> str:
    """Whether to trust the ranking, in one sentence."""
    near, far = (Correlation(**row["shared_vs_scratch"]) for row in found["horizons"])
    if far.low > 0:
        return "The ranking says something about the farther horizon: its tau is above zero beyond doubt."
    if near.low > 0:
        return (
            "The ranking holds at its own horizon but, as far as these candidates show, not at the farther "
            "one: train the finalists for longer before choosing."
        )
    return (
        "These candidates do not show that the ranking is better than chance: train for longer under weight "
        "sharing, or diagnose more candidates."
    )


def _sample(trials: Sequence[Trial], candidates: int) -> list[Trial]:
    """Evenly spaced by score, without candidates that compute the same as another."""
    scored = sorted(
        (t for t in trials if t.outcome.status is Status.COMPLETE and t.outcome.same_as is None),
        key=lambda trial: trial.outcome.score or 0.0,
    )
    if len(scored) < _FEWEST:
        raise UserError(f"the run has {len(scored)} scored candidates; a diagnosis needs {_FEWEST} or more")
    count = min(candidates, len(scored))
    return [scored[round(place * (len(scored) - 1) / (count - 1))] for place in range(count)]


def _train_sample(
    setting: Setting, folder: Path, sample: Sequence[Trial], steps: int, progress: Bars
) -> list[Result]:
    """Results of the sample after the given number of steps from scratch, those in the folder read."""
    final = setting.config.final
    recipe = Recipe(steps, final.batch_size, final.learning_rate, precision=setting.config.precision)
    files = {f"trial {t.proposal.number}": folder / f"{t.proposal.number}-{steps}.json" for t in sample}
    results = {name: read_result(path) for name, path in files.items() if path.exists()}
    jobs = [
        Job(
            name=name,
            backbone=trial.proposal.backbone,
            model=setting.model,
            data=setting.data,
            vocabulary=setting.vocabulary,
            recipe=recipe,
            seed=setting.config.seed,
            device=str(setting.device),
            short_share=final.short_share,
            short_length=final.short_length,
        )
        for name, trial in zip(files, sample, strict=True)
        if name not in results
    ]

    def keep(result: Result) -> None:
        with written_whole(files[result.name]) as partial:
            partial.write_text(json.dumps(result.to_dict(), indent=2) + "\n", encoding="utf-8")
        results[result.name] = result
        progress.update(f"{steps} steps from scratch", len(results), len(files))

    if jobs:
        workers = final.workers or default_workers(setting.device, setting.config.gpu_share)
        train_all(jobs, workers, progress.update, keep)
    return [results[name] for name in files]
