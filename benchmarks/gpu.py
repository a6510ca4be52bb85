"""Measures on a GPU what the package promises of GPUs.

    python benchmarks/gpu.py [--quick] [--seconds 520]

End-to-end training steps (batches, masking, loss, update) in the half precision that `auto` gives: BERT-base,
AutoBERT-Zero-base and BertForMaskedLM of transformers, all compiled, and BERT at widths 128 and 512 with
131,072 tokens per step. At 32 sequences of 128 tokens these also in each mode of `recipe.compile`. MFU is the
share of the peak that large products in half precision reach on the same card. Then the light convolution
against its memory floor, head and loss against their plain form, the estimate of `plan` against a run, the
demo search, and the tests that need a card. A part that has no time left (--seconds) is `skipped`, one that
fails holds its error, and the exit code is then 1. With --quick all of it runs at tiny sizes, also on a CPU:
such figures say nothing about a card. Prints one JSON object as its last line.
The file is long because one call runs all of its parts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from autobert_zero import cost, zoo
from autobert_zero.data.masking import MASKED_SHARE, MaskedBatch, Vocabulary, mask_batch
from autobert_zero.devices import describe_device, find_device, release_cached_memory
from autobert_zero.errors import first_line
from autobert_zero.estimate import TrainingStage, estimate_stages
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.nn.convolution import open_and_convolve
from autobert_zero.nn.vocabulary import vocabulary_logits
from autobert_zero.shared_config import Compile
from autobert_zero.space import Backbone
from autobert_zero.training.capture import compiles
from autobert_zero.training.cross_entropy import token_cross_entropy
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, make_optimizer, train
from autobert_zero.training.precision import autocast, resolve_precision
from autobert_zero.training.speed import steady_seconds

ROOT = Path(__file__).parents[1]
_FORMATS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

STEPS = 10
"""Least number of steps that are timed."""


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        base: Sizes of the base models.
        layers: Their depth.
        shapes: Their batches, sequences and tokens in each.
        tokens: In a batch of the small models.
        product: Rows of the square products that the peak is measured with.
        kernels: Sizes of the light convolution.
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
    """The machine, and what is measured on it."""

    device: torch.device
    sizes: Sizes
    quick: bool

    @property
    def format(self) -> torch.dtype:
        """The number format that `auto` computes products in."""
        return _FORMATS[resolve_precision("auto", self.device)]

    def seconds(self, run: Callable[[int], object]) -> float:
        """Seconds of a step: `run` makes a number of them."""

        def whole(count: int) -> None:
            run(count)
            if self.device.type != "cpu":
                torch.accelerator.synchronize(self.device)

        if self.quick:
            start = time.perf_counter()
            whole(2)
            return (time.perf_counter() - start) / 2
        return steady_seconds(whole, STEPS)[0]

    def seconds_of_call(self, call: Callable[[], object]) -> float:
        """Seconds of a call, whose result is dropped at once: many would fill the card."""

        def run(count: int) -> None:
            for _ in range(count):
                call()

        return self.seconds(run)


def batches_of(batch: int, length: int, vocabulary: int) -> Iterator[MaskedBatch]:
    """Random text, masked as in pre-training."""
    random = np.random.default_rng(0)
    while True:
        rows = random.integers(vocabulary, size=(batch, length)).astype(np.uint32)
        yield mask_batch(random, rows, Vocabulary(vocabulary, 0, -1, (-1,)))


def ours(
    bench: Bench,
    backbone: Backbone,
    sizes: EncoderConfig,
    batch: int,
    length: int,
    compile: Compile = "default",
) -> float:
    """Tokens per second of the package's own loop."""
    torch.manual_seed(0)
    model = MaskedLM(backbone, sizes).to(bench.device)
    if bench.device.type == "cuda" and compiles(compile):
        model.compile()
    recipe = Recipe(1, batch, 1e-4, warmup=0, decay=False, precision="auto", compile=compile)
    optimizer, objective = make_optimizer(model, recipe), language_objective("auto")
    batches = batches_of(batch, length, sizes.vocab_size)
    seconds = bench.seconds(
        lambda count: train(model, batches, recipe, objective, None, optimizer, steps=range(count))
    )
    return batch * length / seconds


def theirs(bench: Bench, sizes: EncoderConfig, layers: int, batch: int, length: int) -> float:
    """Tokens per second of BertForMaskedLM in a plain loop that waits for nothing."""
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
        model.compile()
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


def peaks(bench: Bench) -> dict[str, float]:
    """What the device reaches: operations per second in products, bytes per second in a copy."""
    n = bench.sizes.product
    a, b, c = (torch.randn(n, n, device=bench.device).to(bench.format) for _ in range(3))
    product = bench.seconds_of_call(lambda: torch.mm(a, b, out=c))
    source = torch.zeros(64 * n * (n if bench.quick else 1024), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    copy = bench.seconds_of_call(lambda: target.copy_(source))
    return {"flops": 2 * n**3 / product, "bandwidth": 2 * source.numel() / copy}


def step_flops(backbone: Backbone, sizes: EncoderConfig, length: int) -> float:
    """Operations of an update for a token; the head computes the masked tokens only."""
    head = 2 * sizes.width * (sizes.vocab_size + sizes.width) * MASKED_SHARE
    return 3 * (cost.flops(backbone, sizes, length) / length + head)


def base_models(bench: Bench, peak: dict[str, float]) -> dict[str, Any]:
    """Tokens per second, MFU and ratios at base size."""
    sizes, rows = bench.sizes.base, {}
    bert = zoo.bert(bench.sizes.layers)
    for batch, length in bench.sizes.shapes:
        own = ours(bench, bert, sizes, batch, length)
        release_cached_memory()
        zero = ours(bench, zoo.autobert_zero_base(), sizes, batch, length)
        release_cached_memory()
        peer = theirs(bench, sizes, bench.sizes.layers, batch, length)
        release_cached_memory()
        rows[f"{batch} x {length}"] = {
            "bert": own,
            "mfu": own * step_flops(bert, sizes, length) / peak["flops"],
            "over_transformers": own / peer,
            "autobert_zero_over_bert": zero / own,
        }
    return rows


def small_models(bench: Bench, peak: dict[str, float]) -> dict[str, Any]:
    """Against transformers at widths 128 and 512, 4 layers, sequences of 128 tokens."""
    length, rows = (16, {}) if bench.quick else (128, {})
    for width in (16, 32) if bench.quick else (128, 512):
        sizes = replace(bench.sizes.base, vocab_size=8192, width=width, heads=max(width // 64, 2))
        batch = bench.sizes.tokens // length
        own = ours(bench, zoo.bert(4), sizes, batch, length)
        rows[f"width {width}"] = {
            "bert": own,
            "over_transformers": own / theirs(bench, sizes, 4, batch, length),
        }
        release_cached_memory()
        small: tuple[Compile, ...] = ("off", "capture", "default", "reduce-overhead")
        rows[f"width {width}, 32 sequences"] = {
            mode: ours(bench, zoo.bert(4), sizes, 32, length, mode) for mode in small
        }
        release_cached_memory()
    return rows


def convolutions(bench: Bench, peak: dict[str, float]) -> dict[str, float]:
    """Forward and backward pass of gate and convolution over the time of their memory traffic.

    At the least the projections, two numbers of each channel, are read and the result is written; backward
    they and the gradient of the result are read, and theirs is written.
    """
    (batch, length), sizes, result = bench.sizes.shapes[0], bench.sizes.base, {}
    kind, shape = bench.format, (batch, length, 2 * sizes.width)
    x = torch.randn(shape, device=bench.device, dtype=kind, requires_grad=True)
    above = torch.randn(batch, length, sizes.width, device=bench.device, dtype=kind)
    floor = 8 * above.numel() * above.element_size() / peak["bandwidth"]
    for size in bench.sizes.kernels:
        kernel = torch.randn(sizes.heads, size, device=bench.device).softmax(1).requires_grad_()

        def call(kernel: Tensor = kernel) -> object:
            return torch.autograd.grad(open_and_convolve(x, kernel), (x, kernel), above)

        result[str(size)] = bench.seconds_of_call(call) / floor
    return result


def head(bench: Bench, peak: dict[str, float]) -> dict[str, float]:
    """Seconds of the product with the vocabulary and of the loss, forward and backward.

    They are compared with their plain form: neither a padded vocabulary nor chunks.
    """
    (batch, length), sizes = bench.sizes.shapes[0], bench.sizes.base
    tokens = round(MASKED_SHARE * batch * length)
    hidden, weight, bias = (
        torch.randn(shape, device=bench.device, dtype=bench.format, requires_grad=True)
        for shape in ((tokens, sizes.width), (sizes.vocab_size, sizes.width), (sizes.vocab_size,))
    )
    labels = torch.randint(sizes.vocab_size, (tokens,), device=bench.device)

    def ours() -> Tensor:
        return token_cross_entropy(vocabulary_logits(hidden, weight, bias), labels, tokens)

    def plain() -> Tensor:
        return F.cross_entropy(F.linear(hidden, weight, bias).float(), labels)

    def timed(loss: Callable[[], Tensor]) -> float:
        return bench.seconds_of_call(lambda: torch.autograd.grad(loss(), (hidden, weight, bias)))

    return {"ours": timed(ours), "plain": timed(plain)}


def planned(bench: Bench, peak: dict[str, float]) -> dict[str, float | None]:
    """Estimated over measured time and memory of a pre-training of BERT-base."""
    batch, length = bench.sizes.shapes[0]
    backbone, sizes = zoo.bert(bench.sizes.layers), bench.sizes.base
    (stage,) = estimate_stages(
        [TrainingStage("", backbone, length, batch, batch)], sizes, "auto", bench.device
    )
    release_cached_memory()
    cuda, before = bench.device.type == "cuda", 0
    if cuda:
        torch.cuda.reset_peak_memory_stats(bench.device)
        before = torch.cuda.memory_allocated(bench.device)
    model = MaskedLM(backbone, sizes).to(bench.device)
    recipe = Recipe(1, batch, 1e-4, warmup=0, decay=False)
    optimizer, batches = make_optimizer(model, recipe), batches_of(batch, length, sizes.vocab_size)
    objective = language_objective("auto")
    run = bench.seconds(
        lambda count: train(model, batches, recipe, objective, None, optimizer, steps=range(count))
    )
    memory = torch.cuda.max_memory_allocated(bench.device) - before if cuda else 0
    measured = stage.speed.memory
    return {"time": stage.seconds / run, "memory": measured / memory if measured and memory else None}


def demo_search(bench: Bench, peak: dict[str, float]) -> dict[str, dict[str, float]]:
    """Seconds of the demo search, and its candidates per minute, with steps as they are and captured."""
    return {mode: _demo_search(bench, mode) for mode in ("off", "capture")}


def _demo_search(bench: Bench, mode: str) -> dict[str, float]:
    small = ["model.width=16", "model.heads=2", "data.vocab_size=200", "proxy.candidates=2", "proxy.steps=2"]
    small += ["strategy.population=2", "strategy.parents=1", "final.finalists=1", "final.steps=2"]
    small += ["final.screening_steps=2", "final.equal_time=false"]
    chosen = [f"compile={mode}", *(small if bench.quick else ())]
    options = [part for setting in chosen for part in ("--set", setting)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "autobert_zero.cli", "search", "--preset", "demo", *options]
        start = time.perf_counter()
        subprocess.run([*command, "--out", f"{folder}/run"], check=True, capture_output=True)
        seconds = time.perf_counter() - start
        summary = json.loads(Path(f"{folder}/run/summary.json").read_text(encoding="utf-8"))
    per_minute = 60 * summary["candidates"] / summary["search_seconds"]
    return {"seconds": seconds, "candidates_per_minute": per_minute}


def card_tests(bench: Bench, peak: dict[str, float]) -> str:
    """The last line of the tests of devices, number formats and measurements.

    Raises:
        RuntimeError: One fails, or none was run.
    """
    files = ["tests/test_find_device.py", "tests/training/test_precision.py", "tests/test_estimate.py"]
    files += ["tests/nn/test_devices.py", "tests/test_measure.py", "tests/training/test_captured_step.py"]
    files.append("tests/nn/test_fused_convolution.py")
    chosen = ["-k", "cached_memory"] if bench.quick else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *files, *chosen], cwd=ROOT, capture_output=True, text=True
    )
    last = (done.stdout.strip().splitlines() or [done.stderr])[-1]
    if done.returncode:
        raise RuntimeError(last)
    return last


PARTS: dict[str, Callable[[Bench, dict[str, float]], Any]] = {
    "base": base_models,
    "plan": planned,
    "demo_search": demo_search,
    "small": small_models,
    "convolution_over_floor": convolutions,
    "head_seconds": head,
    "tests": card_tests,
}


def main() -> None:
    """Parses, measures, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, also on a CPU")
    parser.add_argument("--seconds", type=float, default=520.0, help="no part begins after these")
    options = parser.parse_args()
    start = time.perf_counter()
    device = find_device("auto" if torch.cuda.is_available() or not options.quick else "cpu")
    if device.type == "cpu" and not options.quick:
        parser.error("there is no GPU here; --quick runs on a CPU")
    bench = Bench(device, QUICK if options.quick else FULL, options.quick)
    peak = peaks(bench)
    result: dict[str, Any] = {"device": describe_device(device), "torch": torch.__version__, "peak": peak}
    if options.quick:
        result["note"] = "tiny sizes: these figures say nothing about a card"
    for name, part in PARTS.items():
        if time.perf_counter() - start > options.seconds:
            result[name] = "skipped"
            continue
        try:
            result[name] = part(bench, peak)
        except Exception as error:  # the other parts are worth having
            result[name] = f"failed: {type(error).__name__}: {first_line(error)}"
        release_cached_memory()
        print(name, json.dumps(result[name]), file=sys.stderr, flush=True)
    result["seconds"] = time.perf_counter() - start
    print(json.dumps(result))
    if any(str(result[name]).startswith("failed") for name in PARTS):
        sys.exit(1)


if __name__ == "__main__":
    main()
