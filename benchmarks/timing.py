"""Timing of encoders, for `model_speed.py` and for the peer in its own environment: needs torch only."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A batch and a mode to time.

    Attributes:
        batch: Number of sequences.
        tokens: Tokens per sequence, without padding.
        precision: `fp32`, or `bf16` for autocast.
        mode: `forward` (in evaluation mode), or `training`: a forward and a backward pass.
    """

    batch: int
    tokens: int
    precision: str
    mode: str

    @property
    def name(self) -> str:
        return f"{self.mode} {self.batch} x {self.tokens} {self.precision}"


Encode = Callable[[Tensor], Tensor]
"""From ids (B, n) to hidden states (B, n, d)."""


def timed(model: nn.Module, encode: Encode, case: Case, vocabulary: int) -> float:
    """Seconds of one pass over a batch of random ids."""
    ids = torch.randint(vocabulary, (case.batch, case.tokens), generator=torch.Generator().manual_seed(0))
    model.train(case.mode == "training")
    precision: AbstractContextManager[object] = nullcontext()
    if case.precision == "bf16":
        precision = torch.autocast("cpu", torch.bfloat16)
    if case.mode == "forward":
        with torch.inference_mode(), precision:
            start = time.perf_counter()
            encode(ids)
            return time.perf_counter() - start
    model.zero_grad(set_to_none=True)
    start = time.perf_counter()
    with precision:
        hidden = encode(ids)
    hidden.backward(torch.ones_like(hidden))
    return time.perf_counter() - start
