"""A training at a constant rate, with a short decay branch for each mark on the way.

A loss in the middle of a schedule that falls to its end belongs to no finished training, and another length
is another schedule. With a constant rate the losses at all marks are those of trainings that ended there, for
a tenth more of the steps, and a training goes on to a mark that nobody thought of when it began.
The file is long because a training, its branches and what is kept of them change together.
"""

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from result_store import ResultStore
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autobert_zero.data.batches import TrainingBatches, evaluation_batches
from autobert_zero.data.masking import Vocabulary
from autobert_zero.data.splits import Splits
from autobert_zero.devices import find_device
from autobert_zero.errors import UserError
from autobert_zero.files import written_whole
from autobert_zero.memory import keep_freed_memory
from autobert_zero.minimal_pairs.measure import TokenisedPairs
from autobert_zero.nn import MaskedLM
from autobert_zero.progress import Bars
from autobert_zero.provenance import provenance
from autobert_zero.training.language import evaluate, guess_limit, language_objective
from autobert_zero.training.loop import Diverged, Recipe, make_optimizer, train
from autobert_zero.training.pool import WorkerDied, WorkerPool
from autobert_zero.training.precision import Precision
from autobert_zero.training.uniformity import token_uniformity

RISE = 50
"""Steps in which the rate rises."""
DECAY = 0.1
"""Share of a mark's steps in which the rate falls to 0, in a copy of the model."""
SEGMENT = 500
"""Steps between two checkpoints: what a stop loses at most."""
_COMPARED = 256
"""Sequences that token uniformity is measured on."""


@dataclass(frozen=True)
class Measures:
    """What trainings are made and measured with.

    Attributes:
        data: Trained on `train`, measured on both others.
        vocabulary: The tokenizer's.
        device: Where.
        precision: Number format.
        batch_size: Sequences in a batch.
        evaluated: Maximum sequences of validation and of held-out text that a loss is measured on.
        pairs: Minimal pairs, if they are measured.
    """

    data: Splits
    vocabulary: Vocabulary
    device: str
    precision: Precision
    batch_size: int
    evaluated: int
    pairs: TokenisedPairs | None = None


@dataclass(frozen=True)
class Ladder:
    """A training, that is continued from mark to mark.

    Attributes:
        name: Of its files.
        build: Makes the model with new weights; can be sent to another process.
        about: What its result says of it, plain data.
        seed: Of weights and batches.
        rate: The constant learning rate.
        marks: Steps after which it is measured, rising.
        final: The mark whose model is saved, and judged on minimal pairs; 0: none.
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


def climb_all(
    ladders: Sequence[Ladder], measures: Measures, store: ResultStore, workers: int, progress: Bars
) -> dict[str, dict[int, dict[str, Any]]]:
    """Trains what is not kept yet, all to the first mark, then all to the second: what is there is a table.

    Returns:
        By the name of each training, its readings by the marks.
    """
    results: dict[str, dict[str, Any]] = {ladder.name: store.get(ladder.name) or {} for ladder in ladders}
    for rung in range(max(len(ladder.marks) for ladder in ladders)):
        due = [
            (ladder, ladder.marks[rung])
            for ladder in ladders
            if rung < len(ladder.marks)
            and str(ladder.marks[rung]) not in results[ladder.name].get("marks", {})
        ]

        def keep(place: int, reading: dict[str, Any], due: Sequence[tuple[Ladder, int]] = due) -> None:
            ladder, mark = due[place]
            old = results[ladder.name].get("marks", {})
            results[ladder.name] = {
                **ladder.about,
                "seed": ladder.seed,
                "rate": ladder.rate,
                "marks": old | {str(mark): reading},
                "provenance": provenance(),
            }
            store[ladder.name] = results[ladder.name]
            loss = reading.get("reason") or f"held-out loss {reading['val_loss']:.4f}"
            progress.say(f"{ladder.name}, {reading['tokens'] / 1e6:.3g} M tokens: {loss}")

        _climb_each(due, measures, store.folder / "checkpoints", workers, progress, keep)
    return {
        ladder.name: {mark: results[ladder.name]["marks"][str(mark)] for mark in ladder.marks}
        for ladder in ladders
    }


def _climb_each(
    due: Sequence[tuple[Ladder, int]],
    measures: Measures,
    folder: Path,
    workers: int,
    progress: Bars,
    keep: Callable[[int, dict[str, Any]], None],
) -> None:
    """One training per process and thread; with one worker, in this process."""
    calls = [(ladder, mark, measures, folder) for ladder, mark in due]
    if min(workers, len(calls)) <= 1:
        keep_freed_memory()
        torch.set_num_threads(1)  # the same sums whatever the number of workers
        for place, call in enumerate(calls):
            keep(place, climb(*call, progress.update))
        return
    with closing(WorkerPool(min(workers, len(calls)), threads=1)) as pool:
        for place, reading in pool.run(climb, calls, progress.update):
            if isinstance(reading, WorkerDied):
                raise UserError(f"{due[place][0].name}: {reading.reason}; continue with fewer --workers")
            keep(place, reading)


def climb(
    ladder: Ladder, mark: int, measures: Measures, folder: Path, report: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Continues a training to a mark, from its checkpoint where it has one that is not beyond.

    Returns:
        What is measured at the mark, plain data. `seconds` are of the training up to there with this mark's
        branch, `seconds_falling` of the branch, `seconds_measured` of the losses, `seconds_pairs` of the
        minimal pairs: on a CPU of processor time.
    """
    device = find_device(measures.device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    torch.manual_seed(ladder.seed)
    model = ladder.build().to(device)
    recipe = Recipe(
        10 * RISE, measures.batch_size, ladder.rate, decay=False, precision=measures.precision
    )  # its length decides the rise alone
    optimizer = make_optimizer(model, recipe)
    branching = mark - max(round(DECAY * mark), 1)
    checkpoint = folder / f"{ladder.name}.safetensors"
    done, seconds = _restore(checkpoint, branching, model, optimizer)
    objective, limit = language_objective(measures.precision), guess_limit(measures.vocabulary.size)
    seed = (ladder.seed, 0)
    stream = TrainingBatches(measures.data.train, measures.vocabulary, measures.batch_size, seed)

    def watch(step: int, loss: float, before: int = 0) -> None:
        if step % 5 == 0:
            report(ladder.name, before + step, mark)

    # Random numbers (dropout) of a step are a function of the seed and the step, wherever it is continued.
    run = partial(train, objective=objective, loss_limit=limit, seed=ladder.seed)
    tokens = mark * measures.batch_size * measures.data.train.take(slice(0, 1)).shape[1]
    try:
        while done < branching:
            stop, start = min(done + SEGMENT, branching), clock()
            run(
                model,
                stream.starting(done),
                recipe,
                on_step=watch,
                optimizer=optimizer,
                steps=range(done, stop),
            )
            done, seconds = stop, seconds + clock() - start
            _save(checkpoint, done, seconds, model, optimizer)
        start = clock()
        model, optimizer = _copied(model, optimizer, recipe)
        falling = Recipe(
            mark - branching, measures.batch_size, ladder.rate, warmup=0, precision=measures.precision
        )
        run(model, stream.starting(done), falling, on_step=partial(watch, before=done), optimizer=optimizer)
        falling_seconds = clock() - start
        reading = {"seconds": seconds + falling_seconds, "seconds_falling": falling_seconds}
        reading |= _measured(model, measures, clock)
        if measures.pairs is not None and mark == ladder.final:
            reading |= _pairs(model, measures.pairs, measures.precision, clock)
    except Diverged as error:
        return {"status": "diverged", "reason": str(error), "tokens": tokens, "seconds": seconds}
    report(ladder.name, mark, mark)
    if ladder.save is not None and mark == ladder.final:
        ladder.save(model)
    return {"status": "complete", "tokens": tokens, **reading}


def _save(path: Path, done: int, seconds: float, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Writes weights, by name and once each where they are tied, and what the optimiser remembers of them."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        state = {f"{name}/{key}": value for key, value in optimizer.state[parameter].items()}
        tensors |= {name: parameter.detach(), **state}
    whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    with written_whole(path) as partial:
        save_file(whole, partial, {"done": str(done), "seconds": str(seconds)})


def _restore(path: Path, limit: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Continues from a file, unless it is damaged, or of a later mark whose result is lost.

    Returns:
        Steps done, and the seconds that they took.
    """
    try:
        with safe_open(path, "pt") as file:
            done, seconds = int(file.metadata()["done"]), float(file.metadata()["seconds"])
        tensors = load_file(path)
    except (FileNotFoundError, SafetensorError):
        return 0, 0.0
    if done > limit:
        return 0, 0.0
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[name])
        of_this = {key: tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}
        for key, tensor in of_this.items():
            optimizer.state[parameter][key.removeprefix(f"{name}/")] = tensor.to(parameter.device)
    return done, seconds


def _copied(
    model: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe
) -> tuple[nn.Module, torch.optim.Optimizer]:
    state = copy.deepcopy(optimizer.state_dict())
    model = copy.deepcopy(model)
    optimizer = make_optimizer(model, recipe)
    optimizer.load_state_dict(state)
    return model, optimizer


def _measured(model: nn.Module, measures: Measures, clock: Callable[[], float]) -> dict[str, Any]:
    """Losses and token uniformity of a model.

    Raises:
        Diverged: A loss is not finite.
    """
    start, data = clock(), measures.data
    validation, held_out = (
        evaluate(
            model,
            evaluation_batches(part, measures.vocabulary, 2 * measures.batch_size, measures.evaluated),
            measures.precision,
        )
        for part in (data.validation, data.holdout)
    )
    if not np.isfinite([validation.loss, held_out.loss]).all():
        raise Diverged(f"loss on held-out text is {held_out.loss}")
    reading: dict[str, Any] = {
        "selection_loss": validation.loss,
        "val_loss": held_out.loss,
        "mlm_accuracy": held_out.accuracy,
        "seconds_measured": clock() - start,
    }
    if isinstance(model, MaskedLM):
        rows = data.holdout.take(slice(0, _COMPARED)).astype(np.int64)  # (B, n)
        reading["uniformity"] = token_uniformity(model, torch.from_numpy(rows))
    return reading


def _pairs(
    model: nn.Module, pairs: TokenisedPairs, precision: Precision, clock: Callable[[], float]
) -> dict[str, Any]:
    """The accuracy on minimal pairs, in all and by phenomenon."""
    start = clock()
    scored: Any = getattr(model, "model", model)  # a peer's, of transformers
    results = pairs.measure(scored, precision)
    phenomena = {name: each.share for name, each in results.by("phenomenon").items()}
    figures = {"all": results.overall.share, "phenomena": phenomena}
    return {"minimal_pairs": figures, "seconds_pairs": clock() - start}
