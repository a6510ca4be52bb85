"""Converts trials to and from Optuna's."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from autobert_zero.errors import UserError
from autobert_zero.search.rungs import RUNG
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import LAYER_KINDS, Backbone, CanonicalBackbone

_STATES = {Status.COMPLETE: TrialState.COMPLETE, Status.PRUNED: TrialState.PRUNED}

_KIND = CategoricalDistribution(LAYER_KINDS)


class HistoryError(UserError):
    """A study that is damaged or that no search wrote."""


def to_optuna(trial: Trial, costs: Sequence[str] = ()) -> FrozenTrial:
    """Converts a trial: score and costs become values, kinds of layers parameters, the rest attributes.

    Args:
        trial: The trial to convert.
        costs: Names of the metrics that become further values.
    """
    proposal, outcome = trial.proposal, trial.outcome
    state = _STATES.get(outcome.status, TrialState.FAIL)
    rungs = {
        int(name.removeprefix(RUNG)): score
        for name, score in outcome.metrics.items()
        if name.startswith(RUNG)
    }
    attributes: dict[str, Any] = {
        **outcome.metrics,  # each as a separate number, which Optuna's tools can plot
        "backbone": proposal.backbone.to_list(),
        "key": proposal.backbone.key(),
        "round": proposal.round,
        "parent": proposal.parent,
        "mutations": list(proposal.mutations),
        "repeats": proposal.repeats,
        "rejected": proposal.rejected,
        "status": outcome.status.value,
        "reason": outcome.reason,
        "seconds": outcome.seconds,
        "same_as": outcome.same_as,
        "metrics": dict(outcome.metrics),
        "rescored": {str(number): score for number, score in trial.rescored.items()},
    }
    values = None
    if state is TrialState.COMPLETE and outcome.score is not None:
        values = [outcome.score, *(float(outcome.metrics[cost]) for cost in costs)]
    now = datetime.now(tz=UTC).replace(tzinfo=None)
    frozen = optuna.trial.create_trial(
        state=state,
        values=values,
        intermediate_values=rungs,
        params={f"layer {index:02}": layer.kind for index, layer in enumerate(proposal.backbone.layers, 1)},
        distributions={f"layer {index:02}": _KIND for index in range(1, len(proposal.backbone.layers) + 1)},
        user_attrs=json.loads(json.dumps(attributes)),
    )
    # It is recorded when its batch has ended: only the difference is meaningful.
    frozen.datetime_start = now - timedelta(seconds=outcome.seconds)
    frozen.datetime_complete = now
    return frozen


def from_optuna(frozen: FrozenTrial) -> Trial:
    """Reads a trial that `to_optuna` wrote.

    Raises:
        HistoryError: Another program wrote it.
    """
    attributes = frozen.user_attrs
    try:
        proposal = Proposal(
            number=frozen.number,
            # As recorded: an earlier version may have had another canonical form.
            backbone=CanonicalBackbone(Backbone.from_list(attributes["backbone"])),
            round=attributes["round"],
            parent=attributes["parent"],
            mutations=tuple(attributes["mutations"]),
            repeats=attributes.get("repeats", 0),  # studies of earlier versions lack both, and same_as
            rejected=attributes.get("rejected", 0),
        )
        outcome = Outcome(
            status=Status(attributes["status"]),
            score=frozen.values[0] if frozen.state is TrialState.COMPLETE else None,
            reason=attributes["reason"],
            metrics=attributes["metrics"],
            seconds=attributes["seconds"],
            same_as=attributes.get("same_as"),
        )
        rescored = {int(number): score for number, score in attributes["rescored"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HistoryError(
            f"trial {frozen.number} of the study was not written by a search ({error!r}); start another run"
        ) from None
    return Trial(proposal, outcome, rescored)
