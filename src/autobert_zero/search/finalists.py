"""Chooses the finalists of a search: the best candidates, and the best backbones that it was given."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.run_folder.names import LEADERBOARD
from autobert_zero.search.comparison import Model, Train, Training
from autobert_zero.search.ranking import newest_scores
from autobert_zero.search.rungs import rung_metric, rung_steps
from autobert_zero.search.training_config import FinalConfig, ProxyConfig
from autobert_zero.search.trial import Status, Trial

GIVEN_FINALISTS = 2
"""Number of given backbones that are always finalists: scores do not resolve which of two is the best."""


@dataclass(frozen=True, order=True)
class Standing:
    """Orders candidates that were trained for different numbers of steps: more steps are better.

    Attributes:
        steps: Number of steps that the candidate was trained for.
        score: Its score after those steps; the newest one, if it was scored again.
    """

    steps: int
    score: float


def standings(trials: Sequence[Trial], proxy: ProxyConfig) -> dict[int, Standing]:
    """The standing of every scored candidate, by number.

    A candidate that a rung stopped stands there; diverged and failed candidates have no standing.
    """
    newest = newest_scores(trials)
    by_number: dict[int, Standing] = {}
    for trial in trials:
        number = trial.proposal.number
        if number in newest:
            by_number[number] = Standing(proxy.steps, newest[number])
        elif trial.outcome.status is Status.PRUNED:
            scored = _scores_at_rungs(trial.outcome.metrics, proxy)
            if scored:
                by_number[number] = max(scored)
    return by_number


def _scores_at_rungs(metrics: Mapping[str, float], proxy: ProxyConfig) -> list[Standing]:
    names = {rung: rung_metric(rung) for rung in rung_steps(proxy)}
    return [Standing(rung, metrics[name]) for rung, name in names.items() if name in metrics]


def choose_finalists(trials: Sequence[Trial], proxy: ProxyConfig, count: int) -> list[int]:
    """Chooses the candidates to train from scratch.

    Args:
        trials: All trials of a search.
        proxy: Settings that they were trained with.
        count: Number of candidates to choose.

    Returns:
        Numbers of the best candidates that were trained in full, best first. The best `GIVEN_FINALISTS` of
        the backbones that the search was given (known or the user's) come last if they are not among them,
        even if a rung of an earlier version stopped them: a search reports nothing worse than what it was
        given.

    Raises:
        UserError: No candidate was scored.
    """
    standing = standings(trials, proxy)
    best_first = sorted(standing, key=lambda number: (standing[number], -number), reverse=True)
    chosen = [number for number in best_first if standing[number].steps == proxy.steps][:count]
    best_given = [number for number in best_first if trials[number].proposal.given][:GIVEN_FINALISTS]
    chosen += [number for number in best_given if number not in chosen]
    if not chosen:
        reasons = Counter(trial.outcome.reason for trial in trials if trial.outcome.reason)
        why = "".join(f" (most often: {reason})" for reason, _ in reasons.most_common(1))
        raise UserError(f"no candidate completed{why}, so there is nothing to compare; see {LEADERBOARD}")
    return chosen


def screen(
    trials: Sequence[Trial],
    proxy: ProxyConfig,
    final: FinalConfig,
    sizes: EncoderConfig,
    seed: int,
    train: Train,
) -> tuple[Trial, list[dict[str, Any]]]:
    """Trains the finalists of a search and chooses its winner.

    Args:
        trials: All trials of a search.
        proxy: Settings that they were trained with.
        final: Number of finalists and settings of their training; the best backbones that the search was
            given may be additional finalists.
        sizes: Sizes of all candidates.
        seed: Seed of weights and batches. It differs from the comparison's, so that the winner is not the
            finalist with the luckiest start there.
        train: Trains the finalists.

    Returns:
        The finalist with the lowest loss on validation text, and one row of figures per finalist.

    Raises:
        UserError: No candidate was scored, or every finalist diverged.
    """
    standing = standings(trials, proxy)
    finalists = [trials[number] for number in choose_finalists(trials, proxy, final.finalists)]
    trainings = [
        Training(
            f"screening-{trial.proposal.number}",
            Model(trial.proposal.backbone, sizes),
            final.screening_steps,
            final.learning_rate,
            seed,
        )
        for trial in finalists
    ]
    trained = train(trainings)
    results = [trained[training.name] for training in trainings]
    losses = {
        index: result.selection_loss
        for index, result in enumerate(results)
        if result.selection_loss is not None
    }
    if not losses:
        raise UserError("every finalist diverged in the screening; lower final.learning_rate")
    rows = []
    for trial, result in zip(finalists, results, strict=True):
        number = trial.proposal.number
        steps = standing[number].steps
        rows.append(
            {
                "trial": number,
                "score": standing[number].score,
                "stopped_after": steps if steps < proxy.steps else None,
                "status": result.status,
                "selection_loss": result.selection_loss,
                "backbone": trial.proposal.backbone.to_list(),
            }
        )
    return finalists[min(losses, key=losses.__getitem__)], rows
