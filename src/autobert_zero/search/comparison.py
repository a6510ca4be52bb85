"""The comparison at the end of a search: what is trained, at which rate, for how long, and what is reported.

The trainings themselves are in `search_runs.finals`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from autobert_zero import cost
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.search.training_config import FinalConfig
from autobert_zero.space import Backbone

_SAME_SIZE = 0.01
"""Relative difference below which numbers of weights count as equal."""


@dataclass(frozen=True)
class Model:
    """A backbone with its sizes.

    Attributes:
        backbone: The layers.
        sizes: Sizes and trunk.
    """

    backbone: Backbone
    sizes: EncoderConfig

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return cost.parameters(self.backbone, self.sizes)


@dataclass(frozen=True)
class Training:
    """A training from scratch; trainings with the same steps and seed see the same batches.

    Attributes:
        name: Name in progress and results.
        model: The model to train.
        steps: Number of updates.
        learning_rate: Peak learning rate.
        seed: Seed of weights and batches.
        keep_weights: Whether to keep its weights as the run's model.
    """

    name: str
    model: Model
    steps: int
    learning_rate: float
    seed: int
    keep_weights: bool = False

    @property
    def identity(self) -> tuple[object, ...]:
        """What decides the result, hashable: equal for the same model up to the names of projections."""
        key = self.model.backbone.key()
        return self.model.sizes, key, self.steps, self.learning_rate, self.seed, self.keep_weights


class FinalResult(Protocol):
    """The result of a training; see `training.scratch.JobResult`."""

    @property
    def status(self) -> str:
        """`complete` or `diverged`."""
        ...

    @property
    def selection_loss(self) -> float | None:
        """Loss on validation text, for choices; None if the training diverged."""
        ...

    @property
    def val_loss(self) -> float | None:
        """Loss on held-out text, which is reported; None likewise."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data, for JSON."""
        ...


Train = Callable[[Sequence[Training]], Mapping[str, FinalResult]]
"""Trains models, or reads earlier results; returns results by the names of the trainings."""

Speed = Callable[[str, Model], float]
"""Returns the tokens per second that a model of a name trains at, measured alone on the machine."""


def compare_models(
    models: Mapping[str, Model],
    final: FinalConfig,
    seed: int,
    screening_seed: int,
    tokens: int,
    train: Train,
    speed: Speed,
) -> dict[str, Any]:
    """Trains the winner and its opponents at equal tokens and at equal time, each at its own best rate.

    Args:
        models: Models by name; the winner is `best`, the first. Models that are the same up to the names of
            projections are trained once.
        final: Steps and rates.
        seed: Seed of the reported trainings.
        screening_seed: Seed of the trainings that choose the rates.
        tokens: Length of a sequence, for FLOPs.
        train: Trains models.
        speed: Measures the speed of a model.

    Returns:
        For each model, by name, its backbone, costs, rate, speed, results at equal tokens, and the held-out
        loss at equal time (None if it diverged, or equal time is off). Under `strongest`, the name of the
        opponent with the lowest held-out loss, and under `equal_weights` that opponent with its inner width
        changed to match the winner's number of weights; both None if every opponent diverged. Under
        `found_again`, the names of opponents that are the winner itself, none of which is the strongest.
    """
    first: dict[tuple[EncoderConfig, str], str] = {}
    source = {
        name: first.setdefault((model.sizes, model.backbone.key()), name) for name, model in models.items()
    }
    trained = {name: models[name] for name in first.values()}
    rates = best_rates(trained, final, screening_seed, train)
    results = train(
        [
            Training(name, model, final.steps, rates[name], seed, keep_weights=name == "best")
            for name, model in trained.items()
        ]
    )
    speeds = {name: speed(name, model) for name, model in trained.items()}
    timed = _at_equal_time(trained, final, rates, speeds, seed, train) if final.equal_time else {}
    timed["best"] = results["best"].val_loss
    summary: dict[str, Any] = {
        name: {
            "backbone": model.backbone.to_list(),
            "parameters": model.parameters,
            "flops": cost.flops(model.backbone, model.sizes, tokens),
            **results[source[name]].to_dict(),
            "learning_rate": rates[source[name]],
            "tokens_per_second": speeds[source[name]],
            "val_loss_equal_time": timed.get(source[name]),
        }
        for name, model in models.items()
    }
    summary["found_again"] = [name for name in models if name != "best" and source[name] == "best"]
    losses = {name: results[name].val_loss for name in trained if name != "best"}
    summary["strongest"] = strongest = lowest(losses)
    summary["equal_weights"] = None
    if strongest is not None:
        summary["equal_weights"] = _at_equal_weights(models, strongest, final, rates, seed, train)
    return summary


def lowest(losses: Mapping[str, float | None]) -> str | None:
    """The name with the lowest loss; None if all diverged."""
    finite = {name: loss for name, loss in losses.items() if loss is not None}
    return min(finite, key=finite.__getitem__) if finite else None


def best_rates(models: Mapping[str, Model], final: FinalConfig, seed: int, train: Train) -> dict[str, float]:
    """Each model's best learning rate, tried at the length of the screening."""
    rates = final.rates or (final.learning_rate,)
    if len(rates) == 1:
        return dict.fromkeys(models, rates[0])
    trials = {
        (name, rate): Training(f"rate-{name}-{rate:g}", model, final.screening_steps, rate, seed)
        for name, model in models.items()
        for rate in rates
    }
    results = train(list(trials.values()))
    losses = {key: results[training.name].selection_loss for key, training in trials.items()}
    return {name: best_rate([(losses[name, rate], rate) for rate in rates]) for name in models}


def best_rate(tried: list[tuple[float | None, float]]) -> float:
    """The rate with the lowest loss; the lowest rate if all diverged."""
    finite = [(loss, rate) for loss, rate in tried if loss is not None]
    return min(finite)[1] if finite else min(rate for _, rate in tried)


def _at_equal_time(
    models: Mapping[str, Model],
    final: FinalConfig,
    rates: Mapping[str, float],
    speeds: Mapping[str, float],
    seed: int,
    train: Train,
) -> dict[str, float | None]:
    """Held-out losses of the opponents when each is trained for as long as the winner."""
    trainings = {
        name: Training(
            f"equal-time-{name}",
            model,
            max(round(final.steps * speeds[name] / speeds["best"]), 1),
            rates[name],
            seed,
        )
        for name, model in models.items()
        if name != "best"
    }
    results = train(list(trainings.values()))
    return {name: results[training.name].val_loss for name, training in trainings.items()}


def _at_equal_weights(
    models: Mapping[str, Model],
    name: str,
    final: FinalConfig,
    rates: Mapping[str, float],
    seed: int,
    train: Train,
) -> dict[str, Any]:
    """An opponent with its feed-forward blocks widened or narrowed to the winner's number of weights."""
    model = with_parameters(models[name], models["best"].parameters)
    # If the numbers are equal already, this is the training at equal tokens, which is not repeated.
    own = name if model == models[name] else f"equal-weights-{name}"
    training = Training(own, model, final.steps, rates[name], seed)
    result = train([training])[training.name]
    return {"opponent": name, "parameters": model.parameters, "inner": model.sizes.inner, **result.to_dict()}


def with_parameters(model: Model, target: int) -> Model:
    """The model with the inner width that brings its number of weights closest to a target."""
    if abs(model.parameters - target) <= _SAME_SIZE * target:
        return model

    def widened(inner: int) -> Model:
        return replace(model, sizes=replace(model.sizes, feed_forward=inner))

    per_unit = widened(2).parameters - widened(1).parameters
    inner = max(model.sizes.inner + round((target - model.parameters) / per_unit), 1)
    return widened(inner)
