"""Trainings at a constant learning rate, with a short decay branch at each mark.

The loss in the middle of a schedule that decays at its end is not that of a finished training, and a schedule
of another length is another training. With a constant rate, the loss of each decay branch is that of a
training that ended there (Hu et al. 2024, Hägele et al. 2024), for a tenth more of the steps, and a training
can be continued to a mark that was not planned when it began. A mark is a number of steps.
"""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from result_store import ResultStore
from torch import nn

from autobert_zero.data.batches import TrainingBatches
from autobert_zero.devices import find_device
from autobert_zero.errors import UserError
from autobert_zero.memory import keep_freed_memory
from autobert_zero.progress import Bars
from autobert_zero.provenance import provenance
from autobert_zero.training.language import guess_limit, language_objective
from autobert_zero.training.loop import Diverged, Recipe, make_optimizer, train
from autobert_zero.training.pool import WorkerDied, WorkerPool
from truth.checkpoint import load_checkpoint, save_checkpoint
from truth.evaluation import Setup, evaluate_losses, evaluate_pairs

WARMUP_STEPS = 50
"""Number of steps in which the learning rate rises linearly."""
DECAY_SHARE = 0.1
"""Share of a mark's steps in which the learning rate falls to 0, in a copy of the model."""
CHECKPOINT_EVERY = 500
"""Number of steps between two checkpoints: the most that a stop loses."""


@dataclass(frozen=True)
class BranchedTraining:
    """A training that is continued from mark to mark.

    Attributes:
        name: Name of its files.
        build: Makes the model with new weights; can be pickled.
        about: Description of the model in the result, as plain data.
        seed: Random seed of weights, batches and dropout.
        rate: The constant learning rate.
        marks: Numbers of steps at which the model is evaluated, in ascending order.
        final: The mark at which the model is saved and evaluated on minimal pairs; 0 means none.
        save: Called with that model.
    """

    name: str
    build: Callable[[], nn.Module]
    about: dict[str, Any]
    seed: int
    rate: float
    marks: tuple[int, ...]
    final: int = 0
    save: Callable[[nn.Module], None] | None = None


def train_all(
    trainings: Sequence[BranchedTraining], setup: Setup, store: ResultStore, workers: int, progress: Bars
) -> dict[str, dict[int, dict[str, Any]]]:
    """Trains what is missing in the store: all trainings to their first mark, then all to the second, ...

    Args:
        trainings: The trainings.
        setup: Data and settings.
        store: Results of earlier calls, to which each measurement is added at once.
        workers: Number of processes that train at once, with one thread each.
        progress: Progress display.

    Returns:
        The measurements by name of the training and mark.

    Raises:
        UserError: A worker died.
    """
    results: dict[str, dict[str, Any]] = {
        training.name: store.get(training.name) or {} for training in trainings
    }
    for number in range(max(len(training.marks) for training in trainings)):
        missing = [
            (training, training.marks[number])
            for training in trainings
            if number < len(training.marks)
            and str(training.marks[number]) not in results[training.name].get("marks", {})
        ]

        def keep(
            index: int,
            measured: dict[str, Any],
            missing: Sequence[tuple[BranchedTraining, int]] = missing,
        ) -> None:
            training, mark = missing[index]
            earlier = results[training.name].get("marks", {})
            results[training.name] = {
                **training.about,
                "seed": training.seed,
                "rate": training.rate,
                "marks": earlier | {str(mark): measured},
                "provenance": provenance(),
            }
            store[training.name] = results[training.name]
            loss = measured.get("reason") or f"held-out loss {measured['val_loss']:.4f}"
            progress.say(f"{training.name}, {measured['tokens'] / 1e6:.3g} M tokens: {loss}")

        _train_each(missing, setup, store.folder / "checkpoints", workers, progress, keep)
    return {
        training.name: {mark: results[training.name]["marks"][str(mark)] for mark in training.marks}
        for training in trainings
    }


def _train_each(
    missing: Sequence[tuple[BranchedTraining, int]],
    setup: Setup,
    folder: Path,
    workers: int,
    progress: Bars,
    keep: Callable[[int, dict[str, Any]], None],
) -> None:
    """Runs one training per process, with one thread each; with one worker, in this process."""
    calls = [(training, mark, setup, folder) for training, mark in missing]
    if min(workers, len(calls)) <= 1:
        keep_freed_memory()
        torch.set_num_threads(1)  # the same sums whatever the number of workers
        for index, call in enumerate(calls):
            keep(index, train_to_mark(*call, progress.update))
        return
    with closing(WorkerPool(min(workers, len(calls)), threads=1)) as pool:
        for index, measured in pool.run(train_to_mark, calls, progress.update):
            if isinstance(measured, WorkerDied):
                raise UserError(f"{missing[index][0].name}: {measured.reason}; continue with fewer --workers")
            keep(index, measured)


def train_to_mark(
    training: BranchedTraining,
    mark: int,
    setup: Setup,
    folder: Path,
    report: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Continues a training to a mark, from its checkpoint unless that is beyond the mark's branch.

    Args:
        training: The training.
        mark: Number of steps, those of the decay branch included.
        setup: Data and settings.
        folder: Folder of the checkpoints.
        report: Called with the name of the training, the steps done and the mark.

    Returns:
        Measurements at the mark, as plain data. `seconds` is the time of the training up to there with this
        mark's branch, `seconds_falling` that of the branch, `seconds_measured` that of the losses,
        `seconds_pairs` that of the minimal pairs; on a CPU it is processor time.
    """
    device = find_device(setup.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    torch.manual_seed(training.seed)
    model = training.build().to(device)
    # Without decay, the number of steps of the recipe only sets those of its warm-up, a tenth.
    recipe = Recipe(
        10 * WARMUP_STEPS, setup.batch_size, training.rate, decay=False, precision=setup.precision
    )
    optimizer = make_optimizer(model, recipe)
    branch_start = mark - max(round(DECAY_SHARE * mark), 1)
    checkpoint = folder / f"{training.name}.safetensors"
    done, seconds = load_checkpoint(checkpoint, branch_start, model, optimizer)
    objective, limit = language_objective(setup.precision), guess_limit(setup.vocabulary.size)
    seed = (training.seed, 0)
    batches = TrainingBatches(setup.data.train, setup.vocabulary, setup.batch_size, seed)

    def watch(step: int, loss: float, before: int = 0) -> None:
        if step % 5 == 0:
            report(training.name, before + step, mark)

    # Random numbers (dropout) of a step are a function of the seed and the step, wherever it is continued.
    run = partial(train, objective=objective, loss_limit=limit, seed=training.seed)
    tokens = mark * setup.batch_size * setup.data.train.take(slice(0, 1)).shape[1]
    try:
        while done < branch_start:
            stop, start = min(done + CHECKPOINT_EVERY, branch_start), clock()
            run(
                model,
                batches.batches_from(done),
                recipe,
                on_step=watch,
                optimizer=optimizer,
                steps=range(done, stop),
            )
            done, seconds = stop, seconds + clock() - start
            save_checkpoint(checkpoint, done, seconds, model, optimizer)
        start = clock()
        model, optimizer = _copied(model, optimizer, recipe)
        decay = Recipe(
            mark - branch_start, setup.batch_size, training.rate, warmup=0, precision=setup.precision
        )
        on_step = partial(watch, before=done)
        run(model, batches.batches_from(done), decay, on_step=on_step, optimizer=optimizer)
        decay_seconds = clock() - start
        measured = {"seconds": seconds + decay_seconds, "seconds_falling": decay_seconds}
        measured |= evaluate_losses(model, setup, clock)
        if setup.pairs is not None and mark == training.final:
            measured |= evaluate_pairs(model, setup.pairs, setup.precision, clock)
    except Diverged as error:
        return {"status": "diverged", "reason": str(error), "tokens": tokens, "seconds": seconds}
    report(training.name, mark, mark)
    if training.save is not None and mark == training.final:
        training.save(model)
    return {"status": "complete", "tokens": tokens, **measured}


def _copied(
    model: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe
) -> tuple[nn.Module, torch.optim.Optimizer]:
    state = copy.deepcopy(optimizer.state_dict())
    model = copy.deepcopy(model)
    optimizer = make_optimizer(model, recipe)
    optimizer.load_state_dict(state)
    return model, optimizer
