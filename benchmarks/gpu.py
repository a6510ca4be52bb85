"""Measures on a GPU what the package promises of GPUs.

    python benchmarks/gpu.py [--parts PART ...] [--quick] [--seconds 520]

The parts are `tests` (those that need a card), `plan` (its estimate against a run), `convolution` (against
its memory floor), `head` (with the loss, against their plain form), `demo` (the search), and end-to-end
training steps (batches, masking, loss, update) in the half precision that `auto` gives: `base` has BERT-base,
BertForMaskedLM of transformers and AutoBERT-Zero-base, all compiled, and as MFU the share of the peak that
large products in half precision reach on the same card; `small` has BERT at widths 128 and 512, with 131,072
tokens per step, and with 32 sequences of 128 tokens in each mode of `recipe.compile`. Most of the time goes
into compiling, so one call hardly measures all parts. Each row is printed to stderr when it is measured, and
holds its error if it fails, which makes the exit code 1; after --seconds the rest is `skipped`. With --quick
the parts run at tiny sizes, also on a CPU: such figures say nothing about a card. Prints one JSON object as
its last line.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from gpu_models import FULL, QUICK, Bench, own_speed, step_flops, transformers_speed
from gpu_report import Report, ratio, run_module
from torch import Tensor
from torch.nn import functional as F

from autobert_zero import zoo
from autobert_zero.data.masking import MASKED_SHARE
from autobert_zero.devices import describe_device, find_device, release_cached_memory
from autobert_zero.estimate import TrainingStage, estimate_stages
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.convolution import open_and_convolve
from autobert_zero.nn.vocabulary import vocabulary_logits
from autobert_zero.shared_config import Compile
from autobert_zero.training.cross_entropy import token_cross_entropy
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, make_optimizer, train
from autobert_zero.training.speed import random_batches

MODES: tuple[Compile, ...] = ("off", "capture", "default", "reduce-overhead")

CARD_TESTS = (
    "tests/nn/test_devices.py",
    "tests/nn/test_fused_convolution.py",
    "tests/test_estimate.py",
    "tests/test_find_device.py",
    "tests/test_measure.py",
    "tests/training/test_captured_step.py",
    "tests/training/test_cuda_graphs.py",
    "tests/training/test_precision.py",
)

Peak = dict[str, float | None]
"""What the card reaches: operations per second in products, bytes per second in a copy."""


def peaks(bench: Bench, report: Report) -> Peak:
    """Measures the card's peak FLOP/s and memory bandwidth."""
    n = bench.sizes.product

    def products() -> float:
        a, b, c = (torch.randn(n, n, device=bench.device).to(bench.format) for _ in range(3))
        return 2 * n**3 / bench.seconds_of_call(lambda: torch.mm(a, b, out=c))

    def copies() -> float:
        source = torch.zeros(64 * n * (n if bench.quick else 1024), dtype=torch.uint8, device=bench.device)
        target = torch.empty_like(source)
        return 2 * source.numel() / bench.seconds_of_call(lambda: target.copy_(source))

    return {
        "flops": report.measure("peak", "flops", products),
        "bandwidth": report.measure("peak", "bandwidth", copies),
    }


def card_tests(bench: Bench, report: Report, peak: Peak) -> None:
    """Runs the files with tests that need a card; reports the last line of pytest."""
    chosen = ["-k", "cached_memory"] if bench.quick else []
    report.measure(
        "tests",
        "last line",
        lambda: run_module("pytest", "-q", *CARD_TESTS, *chosen).strip().splitlines()[-1],
    )


def planned(bench: Bench, report: Report, peak: Peak) -> None:
    """Ratios of estimated to measured time and memory, for a pre-training of BERT-base."""
    report.measure("plan", "over a run", lambda: _planned(bench))


def _planned(bench: Bench) -> dict[str, float | None]:
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
    optimizer, batches = make_optimizer(model, recipe), random_batches(batch, length, sizes.vocab_size)
    objective = language_objective("auto")
    run = bench.seconds(
        lambda count: train(model, batches, recipe, objective, None, optimizer, steps=range(count))
    )
    memory = torch.cuda.max_memory_allocated(bench.device) - before if cuda else 0
    measured = stage.speed.memory
    return {"time": stage.seconds / run, "memory": measured / memory if measured and memory else None}


def convolutions(bench: Bench, report: Report, peak: Peak) -> None:
    """Ratio of the time of gate and convolution, forward and backward, to that of their memory traffic.

    The forward pass has to read the projections, two numbers per channel, and to write the result; the
    backward pass has to read the projections and the result's gradient, and to write the projections'.
    """
    (batch, length), sizes = bench.sizes.shapes[0], bench.sizes.base
    numbers, bandwidth = batch * length * sizes.width, peak["bandwidth"]

    def over_floor(size: int) -> float:
        if bandwidth is None:
            raise RuntimeError("the bandwidth was not measured")
        x = torch.randn(batch, length, 2 * sizes.width, device=bench.device, dtype=bench.format)
        x.requires_grad_()
        above = torch.randn(batch, length, sizes.width, device=bench.device, dtype=bench.format)
        kernel = torch.randn(sizes.heads, size, device=bench.device).softmax(1).requires_grad_()
        seconds = bench.computing_seconds(
            lambda: torch.autograd.grad(open_and_convolve(x, kernel), (x, kernel), above)
        )
        return seconds / (8 * numbers * above.element_size() / bandwidth)

    for size in bench.sizes.kernels:
        report.measure("convolution_over_floor", str(size), partial(over_floor, size))


def head(bench: Bench, report: Report, peak: Peak) -> None:
    """Seconds of the product with the vocabulary and of the loss, forward and backward.

    The plain form has neither a padded vocabulary nor chunks.
    """
    (batch, length), sizes = bench.sizes.shapes[0], bench.sizes.base
    tokens = round(MASKED_SHARE * batch * length)

    def package_loss(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
        return token_cross_entropy(vocabulary_logits(hidden, weight, bias), labels, tokens)

    def plain(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(hidden, weight, bias).float(), labels)

    def seconds(loss: Callable[..., Tensor]) -> float:
        leaves = [
            torch.randn(shape, device=bench.device, dtype=bench.format, requires_grad=True)
            for shape in ((tokens, sizes.width), (sizes.vocab_size, sizes.width), (sizes.vocab_size,))
        ]
        labels = torch.randint(sizes.vocab_size, (tokens,), device=bench.device)
        return bench.seconds_of_call(lambda: torch.autograd.grad(loss(*leaves, labels), leaves))

    report.measure("head_seconds", "ours", lambda: seconds(package_loss))
    report.measure("head_seconds", "plain", lambda: seconds(plain))


def small_models(bench: Bench, report: Report, peak: Peak) -> None:
    """Tokens per second at widths 128 and 512, 4 layers, sequences of 128 tokens."""
    length, backbone = 16 if bench.quick else 128, zoo.bert(4)
    for width in (16, 32) if bench.quick else (128, 512):
        sizes = replace(bench.sizes.base, vocab_size=8192, width=width, heads=max(width // 64, 2))
        batch, name = bench.sizes.tokens // length, f"width {width}"
        own = report.measure(
            "small", f"{name}, bert", partial(own_speed, bench, backbone, sizes, batch, length)
        )
        peer = report.measure(
            "small", f"{name}, transformers", partial(transformers_speed, bench, sizes, 4, batch, length)
        )
        report.add("small", f"{name}, over_transformers", ratio(own, peer))
        for mode in MODES:
            report.measure(
                "small",
                f"{name}, 32 sequences, {mode}",
                partial(own_speed, bench, backbone, sizes, 32, length, mode),
            )


def base_models(bench: Bench, report: Report, peak: Peak) -> None:
    """Tokens per second, MFU and ratios at base size."""
    sizes, bert = bench.sizes.base, zoo.bert(bench.sizes.layers)
    for batch, length in bench.sizes.shapes:
        shape = f"{batch} x {length}"
        own = report.measure("base", f"{shape}, bert", partial(own_speed, bench, bert, sizes, batch, length))
        peer = report.measure(
            "base",
            f"{shape}, transformers",
            partial(transformers_speed, bench, sizes, bench.sizes.layers, batch, length),
        )
        zero = report.measure(
            "base",
            f"{shape}, autobert_zero",
            partial(own_speed, bench, zoo.autobert_zero_base(), sizes, batch, length),
        )
        share = ratio(own, peak["flops"])
        mfu = None if share is None else share * step_flops(bert, sizes, length)
        report.add("base", f"{shape}, mfu", mfu)
        report.add("base", f"{shape}, over_transformers", ratio(own, peer))
        report.add("base", f"{shape}, autobert_zero_over_bert", ratio(zero, own))


def demo_search(bench: Bench, report: Report, peak: Peak) -> None:
    """Seconds of the demo search, and its candidates per minute, with steps as they are and captured."""
    for mode in MODES[:2]:
        report.measure("demo_search", mode, partial(_demo_search, bench, mode))


def _demo_search(bench: Bench, mode: str) -> dict[str, float]:
    small = ["model.width=16", "model.heads=2", "data.vocab_size=200", "proxy.candidates=2", "proxy.steps=2"]
    small += ["strategy.population=2", "strategy.parents=1", "final.finalists=1", "final.steps=2"]
    small += ["final.screening_steps=2", "final.equal_time=false"]
    chosen = [f"compile={mode}", *(small if bench.quick else ())]
    options = [part for prepared in chosen for part in ("--set", prepared)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run_module("autobert_zero.cli", "search", "--preset", "demo", *options, "--out", f"{folder}/run")
        seconds = time.perf_counter() - start
        summary = json.loads(Path(f"{folder}/run/summary.json").read_text(encoding="utf-8"))
    per_minute = 60 * summary["candidates"] / summary["search_seconds"]
    return {"seconds": seconds, "candidates_per_minute": per_minute}


PARTS: dict[str, Callable[[Bench, Report, Peak], None]] = {
    "tests": card_tests,
    "plan": planned,
    "convolution": convolutions,
    "head": head,
    "demo": demo_search,
    "base": base_models,
    "small": small_models,
}


def main() -> None:
    """Runs the benchmark and prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, also on a CPU")
    parser.add_argument("--seconds", type=float, default=520.0, help="after these the rest is skipped")
    options = parser.parse_args()
    start = time.perf_counter()
    device = find_device("auto" if torch.cuda.is_available() or not options.quick else "cpu")
    if device.type == "cpu" and not options.quick:
        parser.error("there is no GPU here; --quick runs on a CPU")
    bench = Bench(device, QUICK if options.quick else FULL, options.quick)
    report = Report(options.seconds)
    peak = peaks(bench, report)
    for part in options.parts:
        PARTS[part](bench, report, peak)
    result = {"device": describe_device(device), "torch": torch.__version__, **report.parts}
    if options.quick:
        result["note"] = "tiny sizes: these figures say nothing about a card"
    print(json.dumps({**result, "seconds": time.perf_counter() - start}))
    if report.failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
