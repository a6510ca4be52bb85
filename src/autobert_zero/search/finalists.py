"""Who is trained for longer after a search: the best candidates, and the best of what it was given."""

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


@dataclass(frozen=True, order=True)
class Standing:
    """How candidates compare that were not all trained as long: who came further is better.

    Attributes:
        steps: How long it was trained.
        score: What it scored then; the newest, where it was scored again.
    """

    steps: int
    score: float


def standings(trials: Sequence[Trial], proxy: ProxyConfig) -> dict[int, Standing]:
    """The standing of every candidate that was scored, by number.

    Those that a rung stopped stand where it stopped them; those that diverged or failed have none.
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
    """The numbers of the candidates that are trained from scratch.

    Args:
        trials: All of a search.
        proxy: How they were trained.
        count: How many to choose.

    Returns:
        The best of those that were trained in full, best first. If the best of those that the search was
        given (known backbones and the user's) is not among them, it comes after them, even where a rung
        stopped it: a search reports nothing worse than what it was given.

    Raises:
        UserError: No candidate was scored.
    """
    standing = standings(trials, proxy)
    best_first = sorted(standing, key=lambda number: (standing[number], -number), reverse=True)
    chosen = [number for number in best_first if standing[number].steps == proxy.steps][:count]
    best_given = next((number for number in best_first if trials[number].proposal.given), None)
    if best_given is not None and best_given not in chosen:
        chosen.append(best_given)
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
        trials: All of a search.
        proxy: How they were trained.
        final: How many finalists there are, and how they are trained; the best of what the search was given
            may come beside them.
        sizes: Of all candidates.
        seed: Seed of weights and batches. Another one than the comparison's: the winner must not be the one
            with the luckiest start there.
        train: Trains.

    Returns:
        The finalist with the lowest loss on validation text, and what was seen of all of them.

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
