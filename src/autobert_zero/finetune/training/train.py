"""One fine-tuning: a model, a task, a seed and a learning rate, by the one training loop."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, set_seed

from autobert_zero.devices import find_device, make_deterministic
from autobert_zero.files import follow_umask
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.features import feature_batches, outputs, task_objective
from autobert_zero.finetune.models import Pretrained
from autobert_zero.finetune.problem import Problem
from autobert_zero.training.loop import Diverged, Recipe, make_optimizer, train
from autobert_zero.training.precision import gradient_scaler

PlainPredictions = list[int | float] | list[list[str]] | dict[str, str]
"""Predictions of a split as plain data: a class or value per text, tags per sentence, or answers by key."""


@dataclass(frozen=True)
class FinetuneResult:
    """The result of a fine-tuning.

    Attributes:
        seed: Seed of the new head, the order of the data and dropout.
        rate: Peak learning rate.
        metrics: Metrics of the weights that are best by the first split's first metric, by validation split,
            then by metric.
        predictions: Predictions by test split.
        seconds: Time of training, with its evaluations.
        weights: Digest of its weights, see `saved_weights`; None if they were not written.
        pooling: The chosen pooling of the classifier; None for that of the model.
        constant: For each split with constant predictions, the class or value.
        diverged: Why the training diverged, if it did; then there are no metrics, predictions or weights.
    """

    seed: int
    rate: float
    metrics: dict[str, dict[str, float]]
    predictions: dict[str, PlainPredictions]
    seconds: float
    weights: str | None = None
    pooling: str | None = None
    constant: dict[str, str] = field(default_factory=dict)
    diverged: str | None = None


OnUpdate = Callable[[int, int, float], None]
"""Called with the steps done, the number of all steps, and the loss."""

Keep = Callable[[FinetuneResult, PreTrainedModel], FinetuneResult]
"""Called with a training's result and the model with its best weights; returns the result to record."""


def finetune_once(
    model: Pretrained,
    problem: Problem,
    settings: FinetuneConfig,
    seed: int,
    rate: float,
    debug: Path,
    on_step: OnUpdate = lambda done, total, loss: None,
    keep: Keep = lambda done, loaded: done,
) -> FinetuneResult:
    """Trains once, evaluates, and predicts the test splits with the best weights.

    Args:
        model: The pre-trained model.
        problem: The task to train on.
        settings: Settings of the training.
        seed: Seed of head, order and dropout.
        rate: Peak learning rate.
        debug: Folder for the state of a training that diverges.
        on_step: Called with the progress.
        keep: May write the weights.

    Returns:
        The result; if the training diverges, its weights before that step are in `debug`.
    """
    start = time.perf_counter()
    set_seed(seed)
    loaded = problem.load(model.source, **model.changes(settings.pooling))
    try:
        return keep(tune(loaded, problem, settings, seed, rate, on_step), loaded)
    except Diverged as error:
        loaded.save_pretrained(debug)
        follow_umask(debug)
        seconds = time.perf_counter() - start
        return FinetuneResult(seed, rate, {}, {}, seconds, pooling=settings.pooling, diverged=str(error))


def tune(
    loaded: PreTrainedModel,
    problem: Problem,
    settings: FinetuneConfig,
    seed: int,
    rate: float,
    on_step: OnUpdate = lambda done, total, loss: None,
) -> FinetuneResult:
    """Like `finetune_once`, for a loaded model, which ends with its best weights.

    Raises:
        Diverged: The loss or the gradient is not finite; the weights are those before that step.
    """
    start = time.perf_counter()
    if settings.deterministic:
        make_deterministic()
    device = find_device(settings.device)
    loaded = loaded.to(device)
    steps = settings.updates(len(problem.features["train"]))
    recipe = Recipe(
        steps=steps,
        batch_size=settings.batch_size,
        learning_rate=rate,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        precision=settings.precision,
    )
    optimizer, scaler = make_optimizer(loaded, recipe), gradient_scaler(settings.precision, device)
    batches = feature_batches(problem.features["train"], settings.batch_size, seed, 0)
    objective = task_objective(settings.precision)
    every = settings.interval(len(problem.features["train"]))
    done, best, waited = 0, -math.inf, 0
    weights: dict[str, torch.Tensor] = {}
    while done < steps and waited < settings.patience:
        until = min(done + every, steps)
        train(
            loaded,
            batches,
            recipe,
            objective,
            lambda step, loss: on_step(step, steps, loss),
            optimizer,
            scaler=scaler,
            steps=range(done, until),
            seed=seed,
        )
        done = until
        predictions = _predicted(loaded, problem, settings, problem.validation[0])
        merit = problem.measure(problem.validation[0], predictions)[problem.metrics[0]]
        if not math.isfinite(merit):
            raise Diverged(f"{problem.metrics[0]} is {merit} after step {done}")
        if merit > best:
            best, waited = merit, 0
            weights = copy.deepcopy(loaded.state_dict())
        else:
            waited += 1
    loaded.load_state_dict(weights)
    predicted = {
        split: _predicted(loaded, problem, settings, split)
        for split in dict.fromkeys((*problem.validation, *problem.test))
    }
    measured = {split: problem.measure(split, predicted[split]) for split in problem.validation}
    constants = {split: problem.constant(predictions) for split, predictions in predicted.items()}
    on_step(steps, steps, 0.0)  # it may have stopped early
    return FinetuneResult(
        seed,
        rate,
        measured,
        {split: predicted[split] for split in problem.test},
        time.perf_counter() - start,
        pooling=settings.pooling,
        constant={split: value for split, value in constants.items() if value is not None},
    )


def _predicted(loaded: PreTrainedModel, problem: Problem, settings: FinetuneConfig, split: str) -> Any:
    features = problem.features[split]
    raw = outputs(loaded, features, 2 * settings.batch_size, problem.outputs, settings.precision)
    return problem.decide(split, raw)
