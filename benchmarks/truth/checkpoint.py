"""Checkpoints of a training: weights, the state of the optimiser, steps done and seconds taken."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autobert_zero.files import written_whole


def save_checkpoint(
    path: Path, steps: int, seconds: float, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Writes the weights, tied ones once, and the optimiser's state of each."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        state = {f"{name}/{key}": value for key, value in optimizer.state[parameter].items()}
        tensors |= {name: parameter.detach(), **state}
    on_cpu = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    with written_whole(path) as partial:
        save_file(on_cpu, partial, {"done": str(steps), "seconds": str(seconds)})


def load_checkpoint(
    path: Path, limit: int, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Loads a checkpoint into a model and its optimiser, if there is one that can be used.

    Args:
        path: File of the checkpoint.
        limit: Maximum number of steps; a later checkpoint belongs to a later mark and is ignored.
        model: The model, which is changed in place.
        optimizer: Its optimiser, which is changed in place.

    Returns:
        Steps done and seconds taken; 0 and 0.0 without a checkpoint or with a damaged or later one.
    """
    try:
        with safe_open(path, "pt") as file:
            steps, seconds = int(file.metadata()["done"]), float(file.metadata()["seconds"])
        tensors = load_file(path)
    except (FileNotFoundError, SafetensorError):
        return 0, 0.0
    if steps > limit:
        return 0, 0.0
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[name])
        prefix = f"{name}/"
        for key, tensor in tensors.items():
            if key.startswith(prefix):
                optimizer.state[parameter][key.removeprefix(prefix)] = tensor.to(parameter.device)
    return steps, seconds
