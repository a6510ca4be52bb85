"""Which algorithm computes the lightweight convolution fastest, by kernel and length.

    python benchmarks/convolution.py [--device cuda] [--quick]

On a CPU, forward and backward at width 768 with 12 heads, all cores; the algorithms take turns in a round.
`chosen` is what the package does. `chosen_vs_best` is, for the worst kernel, length and precision, the best
other algorithm's time over the chosen one's (medians over rounds of the ratio): at 1 or above the choice is
right everywhere.

With --device cuda the forms of the package, the Triton kernels among them, compute gate and convolution of
32,768 tokens in bf16, forward and backward: at three widths and lengths, and at width 768 compiled as well.
`choices` is what to write into `CHOICES` of `nn/convolution.py`: another form than a band product where that
is 5 % faster. Prints one JSON object as its last line.
The file is long because one call runs all of its parts.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.devices import describe_device, find_device
from autobert_zero.errors import first_line
from autobert_zero.measure import queued_seconds
from autobert_zero.nn.convolution import CHOICES, CONVOLUTIONS, FUSED, FormChoice, convolve, open_and_convolve
from autobert_zero.space.backbone import KERNEL_SIZES

WIDTH, HEADS = 768, 12
BATCHES = {128: 8, 512: 2, 2048: 1, 8192: 1}

Cell = tuple[int, int, int]
"""Width, tokens in a sequence, kernel size."""
CARD_TOKENS = 32768
CARD_WIDTHS, CARD_LENGTHS = (128, 512, 768), (128, 512, 2048)
DEFAULT = "banded_product"
GAIN = 1.05
"""How much faster than the default a form is that is chosen in its place."""


def conv1d(x: Tensor, kernel: Tensor) -> Tensor:
    """PyTorch's depth-wise convolution."""
    weight = kernel.repeat_interleave(WIDTH // HEADS, 0)[:, None]
    return F.conv1d(x.mT, weight, padding=kernel.shape[1] // 2, groups=WIDTH).mT


def band(x: Tensor, kernel: Tensor) -> Tensor:
    """One dense (n, n) band matrix per head."""
    tokens, size = x.shape[1], kernel.shape[1]
    span = tokens + size - 1
    rows = F.pad(kernel, (0, tokens)).repeat(1, tokens)[:, : tokens * span]
    rows = rows.view(HEADS, tokens, span)  # (H, n, span)
    matrix = rows[:, :, size // 2 : size // 2 + tokens]
    heads = x.unflatten(2, (HEADS, -1))  # (B, n, H, d_h)
    return torch.einsum("hts,bshc->bthc", matrix, heads).flatten(2)  # (B, n, d)


def unfold(x: Tensor, kernel: Tensor) -> Tensor:
    """Windows of the sequence times the kernel."""
    size = kernel.shape[1]
    windows = F.pad(x, (0, 0, size // 2, size // 2)).unfold(1, size, 1)  # (B, n, d, k)
    windows = windows.unflatten(2, (HEADS, -1))  # (B, n, H, d_h, k)
    return torch.einsum("bthck,hk->bthc", windows, kernel).flatten(2)  # (B, n, d)


def fft(x: Tensor, kernel: Tensor) -> Tensor:
    """A product of spectra, in single precision."""
    tokens, size = x.shape[1], kernel.shape[1]
    length = 1 << (tokens + size - 2).bit_length()
    weight = torch.fft.rfft(kernel.float().flip(1), length).repeat_interleave(WIDTH // HEADS, 0)
    spectrum = torch.fft.rfft(x.float().mT, length) * weight
    return torch.fft.irfft(spectrum, length)[:, :, size // 2 : size // 2 + tokens].mT.to(x.dtype)


def winograd(x: Tensor, kernel: Tensor) -> Tensor:
    """F(2, 3): two outputs of a kernel of 3 with four products instead of six."""
    tokens = x.shape[1]
    padded = F.pad(x, (0, 0, 1, 1 + tokens % 2))
    pairs = (tokens + 1) // 2
    a, b, c, d = (padded[:, start : start + 2 * pairs - 1 : 2] for start in range(4))
    g = kernel.repeat_interleave(WIDTH // HEADS, 0)  # (d, 3)
    even, odd = (g[:, 0] + g[:, 2]) / 2, g[:, 1] / 2
    first, last = (a - c) * g[:, 0], (b - d) * g[:, 2]
    plus, minus = (b + c) * (even + odd), (c - b) * (even - odd)
    outputs = torch.stack((first + plus + minus, plus - minus - last), 2)  # (B, pairs, 2, d)
    return outputs.flatten(1, 2)[:, :tokens]


ALGORITHMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "chosen": convolve,
    "conv1d": conv1d,
    "band": band,
    "unfold": unfold,
    "fft": fft,
    "winograd": winograd,
}


def applies(name: str, size: int, tokens: int) -> bool:
    """Whether an algorithm exists for a kernel and fits into the memory at a length."""
    if name == "winograd":
        return size == 3
    return tokens <= 2048 if name == "band" else tokens * size <= 2048 * 65 if name == "unfold" else True


def timed(algorithm: Callable[[Tensor, Tensor], Tensor], x: Tensor, kernel: Tensor) -> float:
    """Seconds of a forward and a backward pass."""
    x, kernel = x.detach().requires_grad_(), kernel.detach().requires_grad_()
    start = time.perf_counter()
    algorithm(x, kernel).sum().backward()
    return time.perf_counter() - start


def choose(seconds: dict[str, float]) -> str:
    """The fastest form of a cell, or the default if the gain is too small."""
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] * GAIN < seconds.get(DEFAULT, float("inf")) else DEFAULT


def chosen(choices: list[FormChoice], cell: Cell) -> str:
    """The form that a list of choices selects for a cell."""
    width, tokens, kernel = cell
    return next((choice.form for choice in choices if choice.covers(kernel, tokens, width)), DEFAULT)


def merge_choices(cells: dict[Cell, str]) -> list[FormChoice]:
    """Merges the forms of a grid's cells into few choices; sizes beyond the grid are treated as its last."""
    last = [max(values) for values in zip(*cells, strict=True)]
    choices = []
    for cell in sorted(cells):
        width, tokens, kernel = (
            None if size == largest else size for size, largest in zip(cell, last, strict=True)
        )
        choices.append(FormChoice(cells[cell], kernel, tokens, width))
    for choice in list(choices):
        fewer = [each for each in choices if each is not choice]
        if all(chosen(fewer, cell) == form for cell, form in cells.items()):
            choices = fewer
    return choices


def card_seconds(cell: Cell, form: str, device: torch.device, compiled: bool) -> float:
    """Seconds of the forward and backward pass of gate and convolution."""
    width, tokens, size = cell
    torch.manual_seed(0)
    shape = (max(CARD_TOKENS // tokens, 1), tokens, 2 * width)
    states = torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True)
    kernel = torch.randn(max(width // 64, 1), size, device=device).softmax(1).requires_grad_()
    above = torch.randn(*shape[:2], width, device=device, dtype=torch.bfloat16)
    torch.compiler.reset()
    # A function of its own for each call, since what is compiled is kept by function.
    compute: Callable[[Tensor, Tensor], Tensor] = lambda x, taps: open_and_convolve(x, taps)  # noqa: E731
    run = torch.compile(compute) if compiled else compute
    with mock.patch.dict(CHOICES, {key: (FormChoice(form),) for key in CHOICES}):
        with torch.no_grad():
            got = run(states, kernel)
        expected = CONVOLUTIONS["depthwise"](F.glu(states.detach()[:1].float(), -1), kernel.detach())
        torch.testing.assert_close(got[:1].float(), expected, rtol=0.05, atol=0.05, msg=form)
        return queued_seconds(
            lambda: discard(torch.autograd.grad(run(states, kernel), (states, kernel), above)), device
        )


def discard(value: object) -> None:
    """Discards a value, so that its memory is freed at once."""


def card_grid(device: torch.device, compiled: bool, quick: bool) -> dict[str, Any]:
    """Milliseconds of all forms in all cells, and the choices derived from them."""
    widths = CARD_WIDTHS[-1:] if compiled or quick else CARD_WIDTHS
    lengths = CARD_LENGTHS[: 1 if quick else 2 if compiled else None]
    times: dict[Cell, dict[str, float]] = {}
    faults: dict[str, str] = {}
    for cell in [(w, n, k) for w in widths for n in lengths for k in ((3, 9, 65) if quick else KERNEL_SIZES)]:
        times[cell] = {}
        for form in (*CONVOLUTIONS, *FUSED):
            if form == "shifted_sum" and cell[2] > 15:
                continue  # its time grows with the kernel
            try:
                times[cell][form] = card_seconds(cell, form, device, compiled)
            except Exception as error:  # the other forms are worth having
                faults[f"{cell} {form}"] = f"{type(error).__name__}: {first_line(error)}"
        print(cell, times[cell], file=sys.stderr, flush=True)
    forms = {cell: choose(seconds) for cell, seconds in times.items()}
    rounded = {
        f"d {width} n {tokens} k {size}": {form: round(1e3 * t, 4) for form, t in seconds.items()}
        for (width, tokens, size), seconds in times.items()
    }
    return {
        "choices": [repr(each) for each in merge_choices(forms)],
        "milliseconds": rounded,
        "faults": faults,
    }


def measure_card(quick: bool) -> None:
    """Measures the forms on a card and prints them."""
    device = find_device("cuda")
    result: dict[str, Any] = {
        "benchmark": "convolution",
        "quick": quick,
        "torch": torch.__version__,
        "device": describe_device(device),
    }
    for key, compiled in (("cuda", False), ("cuda compiled", True)):
        result[key] = card_grid(device, compiled, quick)
        print(key, result[key]["choices"], file=sys.stderr, flush=True)  # compiled forms take minutes more
    print(json.dumps(result))


def measure_cpu(quick: bool) -> None:
    """Times all cells on a CPU and prints them."""
    kernels, lengths, rounds = ((3, 9, 65), (128, 512), 3) if quick else (KERNEL_SIZES, tuple(BATCHES), 7)
    torch.manual_seed(0)
    cells: dict[str, dict[str, Any]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        for tokens in lengths:
            for size in kernels:
                x = torch.randn(BATCHES[tokens], tokens, WIDTH).to(dtype)
                kernel = torch.randn(HEADS, size).softmax(-1).to(dtype)
                playing = {name: run for name, run in ALGORITHMS.items() if applies(name, size, tokens)}
                expected = conv1d(x.float(), kernel.float())
                for name, run in playing.items():
                    torch.testing.assert_close(
                        run(x, kernel).float(), expected, rtol=0.05, atol=0.05, msg=name
                    )
                times: dict[str, list[float]] = {name: [] for name in playing}
                for round_ in range(rounds + 1):
                    for name, run in playing.items():
                        seconds = timed(run, x, kernel)
                        if round_:
                            times[name].append(seconds)
                best = min(
                    (name for name in playing if name != "chosen"), key=lambda name: median(times[name])
                )
                gain = median(b / a for a, b in zip(times["chosen"], times[best], strict=True))
                cell = f"{str(dtype).removeprefix('torch.')} n {tokens} k {size}"
                cells[cell] = {name: round(median(values) * 1e3, 2) for name, values in times.items()}
                cells[cell] |= {"best_other": best, "chosen_vs_best": round(gain, 2)}
                print(cell, cells[cell], file=sys.stderr, flush=True)
    ratios = [cell["chosen_vs_best"] for cell in cells.values()]
    print(
        json.dumps(
            {
                "benchmark": "convolution",
                "quick": quick,
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "chosen_vs_best": min(ratios),
                "chosen_vs_best_median": median(ratios),
                "chosen_vs_conv1d_median": round(
                    median(cell["conv1d"] / cell["chosen"] for cell in cells.values()), 2
                ),
                "milliseconds": cells,
            }
        )
    )


def main() -> None:
    """Runs the benchmark and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three kernels, two lengths, fewer rounds")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    quick = options.quick
    if options.device == "cuda":
        measure_card(quick)
    else:
        measure_cpu(quick)


if __name__ == "__main__":
    main()
