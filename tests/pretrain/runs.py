"""A short pre-training for tests, as arguments of the command line, and what it leaves."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from autobert_zero.pretrain.log import read_log

PHASES = "phases=[{steps: 7, length: 16, batch_size: 4}, {steps: 5, length: 32, batch_size: 4}]"
HYBRID = "conv 3\nsoftmax(scale(Q @ K.T)) @ V"


def arguments(corpus: Path, out: Path, *more: str) -> list[object]:
    """A training of 12 steps in two phases, with dropout, so that other random numbers show."""
    chosen = (PHASES, "data.vocab_size=200", "model.width=16", "model.heads=2", "model.dropout=0.1")
    every = ("report.log_every=2", "report.evaluate_every=6", "report.checkpoint_every=3")
    options = [part for setting in (*chosen, *every, *more) for part in ("--set", setting)]
    return ["pretrain", "--backbone", HYBRID, "--corpus", corpus, "--out", out, *options]


def weights(out: Path) -> dict[str, torch.Tensor]:
    """The weights of a finished training."""
    return load_file(out / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    """Whether two trainings ended with the same weights, bit by bit."""
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def figures(out: Path) -> list[dict[str, float]]:
    """The log without times."""
    return [{key: v for key, v in line.items() if key != "tokens_per_second"} for line in read_log(out)]
