"""Evaluations: trainings from scratch in worker processes of one thread each, kept in a file."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from autobert_zero import cost
from autobert_zero.search.config import SearchConfig, SearchDataConfig, SearchModelConfig, SpaceConfig
from autobert_zero.search.trial import Outcome, Status
from autobert_zero.space import Backbone
from efficiency.task import SIZES, Task

_prepared: Any = None
_task: Any = None
"""The worker's prepared search and task; `start_worker` sets them."""


def start_worker(task: Task) -> None:
    """Prepares a worker for a task."""
    global _prepared, _task
    import signal

    import torch

    from autobert_zero.search_runs.prepare import prepare

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    torch.set_num_threads(1)
    config = SearchConfig(
        device="cpu",
        precision="fp32",
        data=SearchDataConfig(vocab_size=SIZES.vocab_size, length=SIZES.max_positions),
        model=SearchModelConfig(layers=task.layers, width=SIZES.width, heads=SIZES.heads),
        space=SpaceConfig(max_ops=task.max_ops),
    )
    _prepared, _task = prepare(config), task


def evaluate(layers: Sequence[str], seed: int) -> dict[str, Any]:
    """Trains a backbone from scratch; a function of the backbone and the seed."""
    import torch

    from autobert_zero.data.batches import evaluation_batches, training_batches
    from autobert_zero.nn import MaskedLM
    from autobert_zero.training import language
    from autobert_zero.training.loop import Diverged, Recipe, train

    start = time.perf_counter()
    data, vocabulary, task = _prepared.data, _prepared.vocabulary, _task
    recipe = Recipe(task.steps, task.batch_size, task.learning_rate, precision="fp32")
    torch.manual_seed(seed)
    model = MaskedLM(Backbone.from_list(layers), _prepared.model)
    loss: float | None = None
    reason = ""
    try:
        train(
            model,
            training_batches(data.train, vocabulary, task.batch_size, (seed, 0)),
            recipe,
            language.language_objective("fp32"),
            loss_limit=language.guess_limit(vocabulary.size),
        )
        measured = language.evaluate(
            model, evaluation_batches(data.validation, vocabulary, 64, task.validation), "fp32"
        )
        loss = measured.loss if isfinite(measured.loss) else None
        reason = "" if loss is not None else f"validation loss is {measured.loss}"
    except Diverged as error:
        reason = str(error)
    return {
        "key": Backbone.from_list(layers).key(),
        "seed": seed,
        "loss": loss,
        "reason": reason,
        "seconds": time.perf_counter() - start,
        "backbone": list(layers),
    }


class Evaluations:
    """All evaluations of a task by backbone key and seed, kept in a JSON-lines file."""

    def __init__(self, task: Task, folder: Path) -> None:
        identity = hashlib.blake2b(repr((task, SIZES)).encode(), digest_size=4).hexdigest()
        self.path = folder / f"evaluations-{identity}.jsonl"
        self.records: dict[tuple[str, int], dict[str, Any]] = {}
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").split("\n")
            if lines[-1]:  # the process was killed while it wrote the line
                self.path.write_text("\n".join([*lines[:-1], ""]), encoding="utf-8")
            for line in lines[:-1]:
                record = json.loads(line)
                self.records[record["key"], record["seed"]] = record

    def add(self, record: dict[str, Any]) -> None:
        self.records[record["key"], record["seed"]] = record
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


def outcome_of(record: Mapping[str, Any], backbone: Backbone) -> Outcome:
    """Converts the record of an evaluation to an outcome."""
    costs = {"parameters": float(cost.parameters(backbone, SIZES))}
    if record["loss"] is None:
        return Outcome(Status.DIVERGED, reason=record["reason"], metrics=costs)
    return Outcome(Status.COMPLETE, -record["loss"], metrics=costs)
