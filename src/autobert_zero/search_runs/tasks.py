"""The tasks of workers, in local processes and on the nodes of a cluster; each prepares the run again."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer

from autobert_zero.nn import EncoderConfig, Trained
from autobert_zero.run_folder.names import WEIGHTS
from autobert_zero.search.comparison import Training
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.trial import Outcome, Proposal, Status
from autobert_zero.search_runs.jobs import job_of
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.snapshots import load_snapshot
from autobert_zero.space import Backbone, Space
from autobert_zero.training.pool import Report, WorkerDied
from autobert_zero.training.scratch import JobResult, train_from_scratch
from autobert_zero.training.speed import training_speed

_SPEED_STEPS = 10
"""Number of steps that a model's speed is measured with."""


@lru_cache(maxsize=1)
def _prepared(config: SearchConfig, tokenizer: str | None) -> PreparedSearch:
    return prepare(config, tokenizer=Tokenizer.from_str(tokenizer) if tokenizer else None)


@lru_cache(maxsize=1)
def _evaluator(config: SearchConfig, tokenizer: str | None) -> ProxyEvaluator:
    """The evaluator of a worker, prepared once."""
    return _prepared(config, tokenizer).evaluator()


def evaluate_candidate(
    config: SearchConfig,
    tokenizer: str | None,
    snapshot: Path | bytes,
    proposal: Proposal,
    thresholds: tuple[float, ...],
    report: Report = lambda *values: None,
) -> tuple[Outcome, Any]:
    """Trains and scores a candidate; the returned weights are arrays, see `to_tensors`."""
    evaluator = _evaluator(config, tokenizer)
    load_snapshot(evaluator.bank, snapshot)
    outcome, trained = evaluator.evaluate(proposal, thresholds)
    return outcome, None if trained is None else _sent(trained)


def warm_up(
    config: SearchConfig, tokenizer: str | None, space: Space
) -> tuple[bytes, tuple[int, int, float] | None]:
    """Warms the bank up from its random start.

    Returns:
        The bank as a snapshot, and the last progress: steps done, total steps, loss.
    """
    # A new evaluator: that of the worker holds the bank of its last task, and has drawn random numbers.
    evaluator = _prepared(config, tokenizer).evaluator()
    last: deque[tuple[int, int, float]] = deque(maxlen=1)
    evaluator.warm_up(space, lambda *progress: last.append(progress))
    return save(evaluator.bank.state()), last[0] if last else None


def rescore(config: SearchConfig, tokenizer: str | None, snapshot: bytes, backbone: Backbone) -> float:
    """Scores a backbone with the bank of a snapshot."""
    evaluator = _evaluator(config, tokenizer)
    load_snapshot(evaluator.bank, snapshot)
    (score,) = evaluator.rescore([backbone])
    return score


def train_job(
    config: SearchConfig, tokenizer: str | None, training: Training
) -> tuple[JobResult, bytes | None]:
    """Trains a model from scratch.

    Returns:
        The result, and the content of the file of weights, if they are to be kept and the training succeeded.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / WEIGHTS
        result = train_from_scratch(job_of(_prepared(config, tokenizer), training, file))
        return result, file.read_bytes() if file.exists() else None


def measure_speed(
    config: SearchConfig, tokenizer: str | None, backbone: Backbone, sizes: EncoderConfig
) -> float:
    """Tokens per second that a model trains at on this node."""
    return speed_in(_prepared(config, tokenizer), backbone, sizes)


def speed_in(prepared: PreparedSearch, backbone: Backbone, sizes: EncoderConfig) -> float:
    """Tokens per second that a model of the final comparison trains at."""
    config = prepared.config
    batch, length = config.final.batch_size, config.data.length
    speed = training_speed(
        backbone,
        sizes,
        batch,
        length,
        config.precision,
        prepared.device,
        _SPEED_STEPS,
        compile=config.compile,
    )
    return speed.tokens_per_second


def _sent(trained: Trained) -> Trained:
    """Converts tensors to arrays, which are sent as plain bytes, not through shared memory."""
    return _converted(trained, lambda tensor: tensor.detach().cpu().numpy())


def to_tensors(trained: Trained) -> Trained:
    """Converts the arrays of a candidate back to tensors."""
    return _converted(trained, torch.tensor)


def _converted(trained: Trained, convert: Callable[[Any], Any]) -> Trained:
    def each(tensors: Mapping[str, Any]) -> dict[str, Any]:
        return {name: convert(tensor) for name, tensor in tensors.items()}

    moments = {key: each(tensors) for key, tensors in trained.moments.items()}
    return replace(trained, weights=each(trained.weights), moments=moments)


Done = tuple[Outcome, Trained | None]


def trained_candidate(sent: tuple[Outcome, Any] | WorkerDied) -> Done:
    """The result that a task sent back, for this process."""
    if isinstance(sent, WorkerDied):
        return Outcome(Status.FAILED, reason=sent.reason), None
    outcome, trained = sent
    return outcome, None if trained is None else to_tensors(trained)
