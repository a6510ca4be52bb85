"""The models that `gpu.py` measures, and how it times them."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from autobert_zero import cost
from autobert_zero.data.masking import MASKED_SHARE
from autobert_zero.measure import queued_seconds
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.shared_config import Compile
from autobert_zero.space import Backbone
from autobert_zero.training.capture import FEWEST_STEPS, compiles
from autobert_zero.training.compiling import compile_model
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, make_optimizer, train
from autobert_zero.training.precision import autocast, resolve_precision
from autobert_zero.training.speed import random_batches, steady_seconds

_FORMATS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measured models and kernels.

    Attributes:
        base: Sizes of the base models.
        layers: Number of layers of the base models.
        shapes: Batch shapes (sequences, tokens per sequence) of the base models.
        tokens: Tokens in a batch of the small models.
        product: Rows of the square matrices whose product measures the peak.
        kernels: Kernel sizes of the light convolution.
    """

    base: EncoderConfig
    layers: int
    shapes: tuple[tuple[int, int], ...]
    tokens: int
    product: int
    kernels: tuple[int, ...]


BASE = EncoderConfig(30522, 768, 12, max_positions=2048)
FULL = Sizes(BASE, 12, ((256, 128), (64, 512), (16, 2048)), 131072, 8192, (3, 9, 17, 33, 65))
QUICK = Sizes(EncoderConfig(500, 24, 12, max_positions=64), 12, ((2, 16), (2, 32), (1, 64)), 64, 64, (3, 9))


@dataclass(frozen=True)
class Bench:
    """A device and the sizes to measure on it, with methods that time calls."""

    device: torch.device
    sizes: Sizes
    quick: bool

    @property
    def format(self) -> torch.dtype:
        """The number format that `auto` computes products in."""
        return _FORMATS[resolve_precision("auto", self.device)]

    def seconds(self, run: Callable[[int], object]) -> float:
        """Seconds of a step; `run(count)` makes that many."""

        def synchronised(count: int) -> None:
            run(count)
            if self.device.type != "cpu":
                torch.accelerator.synchronize(self.device)

        if self.quick:
            start = time.perf_counter()
            synchronised(2)
            return (time.perf_counter() - start) / 2
        return steady_seconds(synchronised, FEWEST_STEPS)[0]

    def seconds_of_call(self, call: Callable[[], object]) -> float:
        """Seconds of a call; each result is dropped at once, since many would fill the card."""

        def run(count: int) -> None:
            for _ in range(count):
                call()

        return self.seconds(run)

    def computing_seconds(self, call: Callable[[], object]) -> float:
        """Seconds that a device computes for a call, on a card without the time to launch it."""

        def run() -> None:
            call()

        return queued_seconds(run, self.device) if self.device.type == "cuda" else self.seconds_of_call(call)


def own_speed(
    bench: Bench,
    backbone: Backbone,
    sizes: EncoderConfig,
    batch: int,
    length: int,
    compile: Compile = "default",
) -> float:
    """Tokens per second of this package's training loop."""
    torch.manual_seed(0)
    model = MaskedLM(backbone, sizes).to(bench.device)
    if bench.device.type == "cuda" and compiles(compile):
        compile_model(model)
    recipe = Recipe(1, batch, 1e-4, warmup=0, decay=False, precision="auto", compile=compile)
    optimizer, objective = make_optimizer(model, recipe), language_objective("auto")
    batches = random_batches(batch, length, sizes.vocab_size)
    seconds = bench.seconds(
        lambda count: train(model, batches, recipe, objective, None, optimizer, steps=range(count))
    )
    return batch * length / seconds


def transformers_speed(bench: Bench, sizes: EncoderConfig, layers: int, batch: int, length: int) -> float:
    """Tokens per second of BertForMaskedLM in a plain loop without synchronisation."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        num_hidden_layers=layers,
        num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.width,
        max_position_embeddings=sizes.max_positions,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForMaskedLM(config).to(bench.device).train()
    if bench.device.type == "cuda":
        compile_model(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    ids = torch.randint(sizes.vocab_size, (batch, length), device=bench.device)
    labels = ids.where(torch.rand(ids.shape, device=bench.device) < MASKED_SHARE, -100)

    def run(count: int) -> None:
        for _ in range(count):
            with autocast("auto", bench.device):
                loss = model(input_ids=ids, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return batch * length / bench.seconds(run)


def step_flops(backbone: Backbone, sizes: EncoderConfig, length: int) -> float:
    """FLOPs of an update per token; the head computes the masked tokens only."""
    head = 2 * sizes.width * (sizes.vocab_size + sizes.width) * MASKED_SHARE
    return 3 * (cost.flops(backbone, sizes, length) / length + head)
