"""Trains backbones from scratch, several at once: the honest comparison at the end of a search."""

import math
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from autobert_zero.data.batches import evaluation_batches, training_batches
from autobert_zero.data.masking import Vocabulary
from autobert_zero.data.splits import Split, Splits
from autobert_zero.devices import cards_of, find_device, release_cached_memory
from autobert_zero.errors import UserError
from autobert_zero.files import read_dataclass, written_whole
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.capture import compiles
from autobert_zero.training.compiling import compile_model
from autobert_zero.training.language import Evaluation, evaluate, guess_limit, language_objective
from autobert_zero.training.loop import Diverged, Recipe, train
from autobert_zero.training.pool import WorkerDied, WorkerPool
from autobert_zero.training.uniformity import token_uniformity

_COMPARED = 256
"""Maximum sequences of held-out text that token uniformity is measured on."""

_POINTS = 50
"""Points of a curve of training losses."""

_EVALUATED = 4096
"""Maximum sequences of validation and held-out text that a result is measured on."""


@dataclass(frozen=True)
class Job:
    """One model to train.

    Attributes:
        name: Name in progress and results.
        backbone: Backbone to train.
        model: Sizes and trunk.
        data: The text: the model is trained on `train` and measured on both others.
        vocabulary: Vocabulary of the tokenizer.
        recipe: How to train. Jobs with the same recipe and seed see the same batches and masks.
        seed: Seed of weights and batches.
        device: Device to train on.
        weights: File for the trained weights (safetensors); None to drop them.
        short_share: Share of the steps, from the first, in which sequences are cut into short ones: attention
            learns to find neighbours in them many times sooner, and so leaves the plateau of unigram
            statistics.
        short_length: Tokens in a short sequence; divides n.
    """

    name: str
    backbone: Backbone
    model: EncoderConfig
    data: Splits
    vocabulary: Vocabulary
    recipe: Recipe
    seed: int
    device: str
    weights: Path | None = None
    short_share: float = 0.0
    short_length: int = 16


@dataclass(frozen=True)
class JobResult:
    """The result of a job.

    Attributes:
        name: Name of the job.
        status: `complete` or `diverged`.
        reason: Why it diverged.
        selection_loss: Loss on validation text, which also scored the candidates; chooses among finalists.
        val_loss: Loss on held-out text, in nats.
        mlm_accuracy: Accuracy on held-out text.
        tokens: Number of tokens trained on.
        seconds: Time of training.
        tokens_per_second: Speed of training under the conditions of the run (jobs may share the cores).
        curve: Points of steps done and mean training loss since the previous point, in nats.
        uniformity: Token uniformity after the embeddings and after each layer, on unmasked held-out text; see
            `token_uniformity`.
    """

    name: str
    status: str
    reason: str = ""
    selection_loss: float | None = None
    val_loss: float | None = None
    mlm_accuracy: float | None = None
    tokens: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    curve: Sequence[Sequence[float]] = ()
    uniformity: Sequence[float] = ()

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data for JSON, without the curve, which only plots need."""
        return {name: value for name, value in asdict(self).items() if name != "curve"}


def read_result(path: Path) -> JobResult:
    """Reads a result that `JobResult.to_dict` returned, as JSON.

    Raises:
        UserError: The file is damaged.
    """
    return read_dataclass(JobResult, path, "delete it to train it again")


OnJobStep = Callable[[str, int, int], None]
"""Called with the job's name, the steps done and the number of all steps."""


def train_from_scratch(job: Job, on_step: OnJobStep = lambda name, done, total: None) -> JobResult:
    """Trains and measures one model."""
    device = find_device(job.device)  # prepares the device in a worker process
    torch.manual_seed(job.seed)
    model = MaskedLM(job.backbone, job.model).to(device)
    recipe = job.recipe
    if compiles(recipe.compile):
        compile_model(model)
    short = math.ceil(job.short_share * recipe.steps)
    whole = training_batches(job.data.train, job.vocabulary, recipe.batch_size, (job.seed, 0))
    batches = (batch.cut(job.short_length) if step < short else batch for step, batch in enumerate(whole))
    curve: list[tuple[int, float]] = []
    losses: list[float] = []

    def watch(step: int, loss: float) -> None:
        losses.append(loss)
        if len(losses) == max(recipe.steps // _POINTS, 1) or step == recipe.steps:
            curve.append((step, fmean(losses)))
            losses.clear()
        on_step(job.name, step, recipe.steps)

    try:
        seconds = train(
            model,
            batches,
            recipe,
            language_objective(recipe.precision),
            watch,
            loss_limit=guess_limit(job.vocabulary.size),
        )
        selection, held_out = (
            _measured(model, part, job) for part in (job.data.validation, job.data.holdout)
        )
    except Diverged as error:
        return JobResult(job.name, "diverged", str(error), curve=curve)
    if job.weights is not None:
        with written_whole(job.weights) as partial:
            save_file({name: p.detach().cpu() for name, p in model.named_parameters()}, partial)
    unmasked = torch.from_numpy(job.data.holdout.take(slice(0, _COMPARED)).astype(np.int64))  # (B, n)
    tokens = recipe.steps * recipe.batch_size * job.data.train.take(slice(0, 1)).shape[1]
    return JobResult(
        name=job.name,
        status="complete",
        selection_loss=selection.loss,
        val_loss=held_out.loss,
        mlm_accuracy=held_out.accuracy,
        tokens=tokens,
        seconds=seconds,
        tokens_per_second=tokens / seconds,
        curve=curve,
        uniformity=token_uniformity(model, unmasked),
    )


def _measured(model: MaskedLM, part: Split, job: Job) -> Evaluation:
    batches = evaluation_batches(part, job.vocabulary, 2 * job.recipe.batch_size, _EVALUATED)
    result = evaluate(model, batches, job.recipe.precision)
    if not math.isfinite(result.loss):
        raise Diverged(f"loss on held-out text is {result.loss}")
    return result


def default_workers(device: torch.device, gpu_share: float = 1.0) -> int:
    """The default number of models trained at once.

    Args:
        device: A CPU trains one model per core: two small models with a core each beat one with two.
        gpu_share: Share of a GPU that a model takes; all cards that the device stands for are filled.
    """
    if device.type != "cpu":
        return max(len(cards_of(device)), 1) * max(int(1 / gpu_share + 1e-9), 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_per_job(workers: int, jobs: int) -> int:
    """PyTorch threads per job when `workers` jobs are trained at once; all threads for one at a time."""
    workers = min(workers, jobs)
    return (
        torch.get_num_threads() if workers <= 1 else max(default_workers(torch.device("cpu")) // workers, 1)
    )


def train_all(
    jobs: Sequence[Job],
    workers: int,
    on_step: OnJobStep,
    on_result: Callable[[JobResult], None],
) -> None:
    """Trains jobs in worker processes; one that is killed is replaced and its job trained again.

    Args:
        jobs: The jobs.
        workers: Number of jobs trained at once, spread over the cards; 1 trains in this process.
        on_step: Called in this process with the progress.
        on_result: Called in this process with each result.

    Raises:
        KeyboardInterrupt: Passed on after the workers have stopped.
        UserError: The worker of a job died repeatedly while it was the only one.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            on_result(train_from_scratch(job, on_step))
        return
    cards = cards_of(torch.device(jobs[0].device))
    release_cached_memory()  # of this process, which has measured models on the card of a worker
    with closing(WorkerPool(workers, threads_per_job(workers, len(jobs)), cards=cards)) as pool:
        for index, result in pool.run(_train, [(job,) for job in jobs], on_step):
            if isinstance(result, WorkerDied):
                raise UserError(
                    f"{jobs[index].name}: {result.reason}; free some memory, then continue with fewer models "
                    "at once (--workers 1, unless the run's config.yaml sets final.workers)"
                )
            on_result(result)


def _train(job: Job, report: OnJobStep) -> JobResult:
    """Trains a job in a worker, which reports every fifth step only."""

    def on_step(name: str, done: int, total: int) -> None:
        if done % 5 == 0 or done == total:
            report(name, done, total)

    return train_from_scratch(job, on_step)
