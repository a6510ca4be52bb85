"""Diagnoses a run's ranking: its shared-weight scores against training from scratch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from autobert_zero.announce import estimate_line, machine_line, model_line
from autobert_zero.errors import UserError
from autobert_zero.estimate import TrainingStage
from autobert_zero.files import write_text
from autobert_zero.markdown import table
from autobert_zero.progress import Bars
from autobert_zero.run_folder.names import BANK, DIAGNOSED, DIAGNOSIS
from autobert_zero.search.comparison import Model, Training
from autobert_zero.search.config import SEEDS
from autobert_zero.search.trial import Status, Trial
from autobert_zero.search_runs.folder import history_of, prepared_run, read_run_start
from autobert_zero.search_runs.jobs import job_of, models_at_once
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.search_runs.rank_correlation import Correlation, correlation
from autobert_zero.search_runs.snapshots import restore_snapshot
from autobert_zero.training.scratch import JobResult, read_result, train_all
from autobert_zero.zoo import bert

_FEWEST = 5
"""Minimum number of candidates for a meaningful interval."""


def run_diagnosis(
    out: Path, candidates: int, longer: int, progress: Bars, device: str | None = None, workers: int = 0
) -> dict[str, Any]:
    """Trains a sample of a run's candidates from scratch, at two horizons.

    The nearer horizon is the tokens that the shared weights had seen when the first candidate was scored. At
    the farther one, half of the sample is trained again from another seed: no proxy can agree with the truth
    more than the truth with itself.
    Results stay in the folder, so that an interrupted diagnosis continues.

    Args:
        out: Folder of the run.
        candidates: Number of candidates, evenly spaced by score.
        longer: The farther horizon, as a multiple of the nearer one.
        progress: Shows the progress.
        device: Device to train on; None: that of the run.
        workers: Number of models trained at once, see `models_at_once`.

    Returns:
        What `diagnosis.json` holds.

    Raises:
        UserError: There is no such run, or it has too few scored candidates.
    """
    config, _ = read_run_start(out)
    if device is not None:
        config = config.model_copy(update={"device": device})
    prepared = prepared_run(out, config, progress.update)
    workers = models_at_once(prepared, workers)
    trials = history_of(out, prepared).load()
    if config.proxy.sharing == "none":
        raise UserError(f"the search in {out} shared no weights (proxy.sharing: none): nothing to diagnose")
    evaluator = prepared.evaluator()
    restore_snapshot(evaluator.bank, out / BANK, len(trials), progress.say)
    sample = _sample(trials, candidates)
    shared = evaluator.rescore([trial.proposal.backbone for trial in sample])
    proxy, final = config.proxy, config.final
    for line in (prepared.text, model_line(config.model.layers, prepared.model)):
        progress.say(line)
    progress.say(machine_line(prepared.device, config.precision))
    near = max(round((proxy.warmup_steps + proxy.steps) * proxy.batch_size / final.batch_size), 1)
    far = longer * near
    twice = sample[:: 2 if len(sample) >= 2 * _FEWEST else 1]
    steps = near * (len(sample) * (1 + longer) + len(twice) * longer)
    batch, backbone = final.batch_size, bert(config.model.layers)
    stage = TrainingStage(
        "from scratch", backbone, config.data.length, batch, steps * batch, compile=config.compile
    )
    progress.say(
        f"{len(sample)} candidates from scratch, {near:,} and {far:,} steps each; "
        f"{len(twice)} of them {far:,} steps from a second seed"
    )
    progress.say(estimate_line([stage], prepared.model, config.precision, prepared.device))
    horizons = [
        _horizon(
            sample,
            shared,
            _train_sample(prepared, out / DIAGNOSED, sample, steps, config.seed, progress, workers),
            steps,
        )
        for steps in (near, far)
    ]
    near_losses, far_losses = (horizon["losses"] for horizon in horizons)
    second = _train_sample(
        prepared, out / DIAGNOSED, twice, far, config.seed + SEEDS, progress, workers, "-again"
    )
    again = {
        str(trial.proposal.number): result.selection_loss
        for trial, result in zip(twice, second, strict=True)
        if result.selection_loss is not None
    }
    diagnosis = {
        "horizons": horizons,
        "between_horizons": _correlation_data(_agreement(near_losses, far_losses)),
        "noise_ceiling": _correlation_data(_agreement(far_losses, again)),
        "losses_again": again,
        "seconds_shared": fmean(trial.outcome.seconds for trial in sample),
        "shared": {str(t.proposal.number): score for t, score in zip(sample, shared, strict=True)},
        "backbones": {str(trial.proposal.number): trial.proposal.backbone.to_list() for trial in sample},
    }
    write_text(out / DIAGNOSIS, json.dumps(diagnosis, indent=2) + "\n")
    return diagnosis


def _horizon(
    sample: Sequence[Trial], shared: Sequence[float], results: Sequence[JobResult], steps: int
) -> dict[str, Any]:
    """Compares the rankings of a sample by shared and by recorded scores with training from scratch.

    Args:
        sample: The candidates.
        shared: Their scores with the shared weights as these are now.
        results: Their trainings from scratch.
        steps: Number of steps of these.

    Raises:
        UserError: Too few of the trainings did not diverge.
    """
    finite = [index for index, result in enumerate(results) if result.selection_loss is not None]
    if len(finite) < _FEWEST:
        raise UserError(f"only {len(finite)} of {len(results)} candidates did not diverge from scratch")
    scratch = [-(results[index].selection_loss or 0.0) for index in finite]
    now = [shared[index] for index in finite]
    recorded = [sample[index].outcome.score or 0.0 for index in finite]
    attentions = [sample[index].proposal.backbone.global_attentions for index in finite]
    return {
        "steps": steps,
        "tokens": results[finite[0]].tokens,
        "candidates": len(finite),
        "shared_vs_scratch": _correlation_data(correlation(now, scratch)),
        "shared_vs_scratch_within": _correlation_data(correlation(now, scratch, attentions)),
        "recorded_vs_scratch": _correlation_data(correlation(recorded, scratch)),
        "seconds_scratch": fmean(results[index].seconds for index in finite),
        "losses": {str(sample[index].proposal.number): results[index].selection_loss for index in finite},
    }


def diagnosis_report(diagnosis: dict[str, Any]) -> str:
    """A diagnosis as text."""
    near, far = diagnosis["horizons"]
    header = [
        *("tokens from scratch", "candidates", "bank as it is now", "within equal attention counts"),
        *("as recorded", "seconds per candidate"),
    ]
    lines = [
        "Kendall's tau (95 % interval), shared weights against training from scratch:",
        "",
        *table(header, [_horizon_row(near), _horizon_row(far)]),
        "",
        "Attention counts are of layers in which a token may see all others.",
        f"The two horizons agree with each other: {_tau_text(diagnosis['between_horizons'])}. "
        f"Two seeds of the farther one, the ceiling for any proxy: {_tau_text(diagnosis['noise_ceiling'])} "
        f"({len(diagnosis['losses_again'])} candidates). "
        f"A candidate under weight sharing took {diagnosis['seconds_shared']:.1f} s.",
        diagnosis_verdict(diagnosis),
    ]
    return "\n".join(lines)


def _horizon_row(row: dict[str, Any]) -> list[str]:
    correlations = ("shared_vs_scratch", "shared_vs_scratch_within", "recorded_vs_scratch")
    return [
        *(f"{row['tokens']:,}", str(row["candidates"])),
        *(_tau_text(row[name]) for name in correlations),
        f"{row['seconds_scratch']:.1f}",
    ]


def diagnosis_verdict(diagnosis: dict[str, Any]) -> str:
    """Whether to trust the ranking, in one sentence."""
    near, far = (row["shared_vs_scratch"] for row in diagnosis["horizons"])
    if far and far["low"] > 0:
        return "The ranking says something about the farther horizon: its tau is above zero beyond doubt."
    if near and near["low"] > 0:
        return (
            "The ranking holds at its own horizon but, as far as these candidates show, not at the farther "
            "one: train the finalists for longer before choosing."
        )
    return (
        "These candidates do not show that the ranking is better than chance: train for longer under weight "
        "sharing, or diagnose more candidates."
    )


def _agreement(one: Mapping[str, float], other: Mapping[str, float]) -> Correlation | None:
    """Correlation of the losses of the candidates that have both."""
    both = [number for number in one if number in other]
    return correlation([-one[number] for number in both], [-other[number] for number in both])


def _correlation_data(tau: Correlation | None) -> dict[str, float] | None:
    return None if tau is None else asdict(tau)


def _tau_text(tau: dict[str, float] | None) -> str:
    return "nothing to rank" if tau is None else str(Correlation(**tau))


def _sample(trials: Sequence[Trial], candidates: int) -> list[Trial]:
    """Candidates evenly spaced by score, without those that compute the same function as another."""
    scored = sorted(
        (t for t in trials if t.outcome.status is Status.COMPLETE and t.outcome.same_as is None),
        key=lambda trial: trial.outcome.score or 0.0,
    )
    if len(scored) < _FEWEST:
        raise UserError(f"the run has {len(scored)} scored candidates; a diagnosis needs {_FEWEST} or more")
    count = min(candidates, len(scored))
    return [scored[round(index * (len(scored) - 1) / (count - 1))] for index in range(count)]


def _train_sample(
    prepared: PreparedSearch,
    folder: Path,
    sample: Sequence[Trial],
    steps: int,
    seed: int,
    progress: Bars,
    workers: int,
    suffix: str = "",
) -> list[JobResult]:
    """Trains the sample from scratch for the given number of steps, or reads results in the folder."""
    rate = prepared.config.final.learning_rate
    files = {
        f"trial {t.proposal.number}": folder / f"{t.proposal.number}-{steps}{suffix}.json" for t in sample
    }
    results = {name: read_result(path) for name, path in files.items() if path.exists()}
    jobs = [
        job_of(prepared, Training(name, Model(trial.proposal.backbone, prepared.model), steps, rate, seed))
        for name, trial in zip(files, sample, strict=True)
        if name not in results
    ]

    def keep(result: JobResult) -> None:
        write_text(files[result.name], json.dumps(result.to_dict(), indent=2) + "\n")
        results[result.name] = result
        progress.update(f"{steps} steps from scratch", len(results), len(files))

    if jobs:
        train_all(jobs, workers, progress.update, keep)
    return [results[name] for name in files]
