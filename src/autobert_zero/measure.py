"""Latency and memory of single layers, measured on the machine at hand."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from autobert_zero import cost
from autobert_zero.cost import Measured
from autobert_zero.data.masking import MASKED_SHARE
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.encoder import initialise
from autobert_zero.nn.layer import EncoderLayer
from autobert_zero.space import Backbone, Layer
from autobert_zero.training.cuda_graphs import CudaGraphs
from autobert_zero.training.precision import Precision, autocast

_BYTES_PER_WEIGHT = 16
"""A weight, its gradient and Adam's two means."""

_WARM_UP_SECONDS = 0.3
"""An idle card computes at a fraction of its clock."""
_QUEUED = 50
"""Runs between two events of a card."""

_RUNS = 20
_SECONDS = 2.0
"""Seconds after which a measurement stops early."""


def measure_backbone(
    backbone: Backbone,
    config: EncoderConfig,
    length: int,
    batch: int,
    device: torch.device,
    precision: Precision = "fp32",
) -> dict[Layer, Measured]:
    """Measures each distinct layer of the canonical form, without dropout, on `batch` x `length` tokens."""
    layers = dict.fromkeys(backbone.canonical().layers)
    return {layer: measure_layer(layer, config, batch, length, device, precision) for layer in layers}


def measure_layer(
    layer: Layer,
    config: EncoderConfig,
    batch: int,
    tokens: int,
    device: torch.device,
    precision: Precision = "fp32",
) -> Measured:
    """Medians of a layer with random weights, on `batch` sequences of `tokens` tokens each."""
    module = _random_layer(layer, config, device).train()
    x = torch.randn(batch, tokens, config.width, device=device, requires_grad=True)
    grad_output = torch.randn_like(x)

    def training() -> None:
        with autocast(precision, device):
            output = module(x, None)
        output.backward(grad_output.to(output.dtype))

    with autocast(precision, device):
        kept = _saved_bytes(module, x)
    return Measured(_forward(module, x, precision), _seconds(training, device), kept)


def measure_forward(
    layer: Layer,
    config: EncoderConfig,
    batch: int,
    tokens: int,
    device: torch.device,
    precision: Precision = "fp32",
) -> float:
    """Median seconds of the forward pass without dropout, measured as in `measure_layer`."""
    module = _random_layer(layer, config, device).eval()
    return _forward(module, torch.randn(batch, tokens, config.width, device=device), precision)


def _random_layer(layer: Layer, config: EncoderConfig, device: torch.device) -> EncoderLayer:
    module = EncoderLayer(layer, config)
    initialise(module)
    return module.to(device)


def _forward(module: EncoderLayer, x: Tensor, precision: Precision) -> float:
    def forward() -> None:
        with torch.inference_mode(), autocast(precision, x.device):
            module(x, None)

    return _seconds(forward, x.device)


def training_memory(
    backbone: Backbone,
    config: EncoderConfig,
    batch: int,
    tokens: int,
    with_head: bool = True,
    checkpointing: bool = False,
) -> int:
    """Estimates the bytes that training a masked language model takes, in single precision.

    Args:
        backbone: The token-mixing layers.
        config: Sizes of the model.
        batch: Number of sequences.
        tokens: Number of tokens in each.
        with_head: Whether there is a head that predicts tokens.
        checkpointing: Whether only the inputs of layers are kept, and the rest for one layer at a time.

    Returns:
        Bytes of weights, gradients and Adam's means, and of what a forward pass keeps for the backward pass:
        measured for the layers with one sequence, counted for the head.
    """
    kept = {layer: _layer_kept(layer, config, tokens) for layer in dict.fromkeys(backbone.layers)}
    logits = with_head * 2 * 4 * MASKED_SHARE * tokens * config.vocab_size
    if checkpointing:
        layers = len(backbone.layers) * 4 * tokens * config.width + max(kept.values())
    else:
        layers = sum(kept[layer] for layer in backbone.layers)
    of_a_sequence = layers + logits
    return round(_BYTES_PER_WEIGHT * cost.parameters(backbone, config, with_head) + batch * of_a_sequence)


def _layer_kept(layer: Layer, config: EncoderConfig, tokens: int) -> int:
    return _saved_bytes(EncoderLayer(layer, config), torch.randn(1, tokens, config.width, requires_grad=True))


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    """Median seconds of a run."""
    return queued_seconds(run, device) if device.type == "cuda" else _median(run, device)


def queued_seconds(run: Callable[[], None], device: torch.device) -> float:
    """Median seconds that a card computes for a run.

    A layer is some twenty launches, which take longer than its kernels: a clock on the CPU, and a wait after
    each run, would measure Python. The runs are a CUDA graph if they can be captured, are queued without
    waiting, and are timed by events on the card.
    """
    graphs = CudaGraphs(device)
    with torch.cuda.device(device):
        start = time.perf_counter()
        while time.perf_counter() - start < _WARM_UP_SECONDS:
            graphs.aside(run)
            torch.cuda.synchronize()
        try:
            _, again = graphs.record(run)
        except RuntimeError:  # it waits for the card, which a graph cannot
            torch.cuda.synchronize()
            again = run
        times = []
        for _ in range(3):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(_QUEUED):
                again()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1000 / _QUEUED)
    return median(times)


def _median(run: Callable[[], None], device: torch.device) -> float:
    """Median seconds of some runs after the first, which prepares what the rest use."""
    times: list[float] = []
    start = time.perf_counter()
    while len(times) <= _RUNS and (len(times) < 3 or time.perf_counter() - start < _SECONDS):
        before = time.perf_counter()
        run()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        times.append(time.perf_counter() - before)
    return median(times[1:])


def _saved_bytes(module: EncoderLayer, x: Tensor) -> int:
    """Bytes of the distinct memory that autograd saves, weights and input apart."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), x)}
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in own:
            sizes[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = module(x, None)  # alive, so that no address is used twice
    total = sum(sizes.values())
    del output
    return total
