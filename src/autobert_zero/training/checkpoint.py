"""Checkpoints of a training: written atomically, as safetensors only; the two newest are kept.

A checkpoint is a folder named by the number of steps done. It is written under a temporary name, flushed and
renamed, so that a kill or a full disk leaves the previous one intact. It does not depend on the number of
processes: tensors that Accelerate sharded are gathered.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from autobert_zero.errors import UserError, first_line
from autobert_zero.files import folder_written_whole, remove_partial

if TYPE_CHECKING:
    from accelerate import Accelerator

_KEPT = 2
_MODEL, _OPTIMIZER, _ABOUT = "model.safetensors", "optimizer.safetensors", "checkpoint.json"
_SEPARATOR = "/"
_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
_EVERYWHERE = StateDictOptions(full_state_dict=True)


class CheckpointError(UserError):
    """A checkpoint that could not be written; the ones before it are whole."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        step: Number of steps done.
        model: The weights.
        optimizer: The optimiser's state of each parameter, as `parameter/key`.
        about: Other state of the training, plain data.
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    about: dict[str, Any]


def save_checkpoint(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    about: Mapping[str, Any],
    accelerator: "Accelerator | None" = None,
) -> None:
    """Writes a checkpoint; every process calls it, the first one writes.

    Args:
        folder: Folder of all checkpoints.
        step: Number of steps done.
        model: The model; may be wrapped by Accelerate.
        optimizer: Its optimiser.
        about: Other state of the training, plain data.
        accelerator: Accelerate's view of several processes; None for a single process.

    Raises:
        CheckpointError: It could not be written, for example because the disk is full, or there is nothing to
            write.
    """
    weights = model_weights(model)
    # The rest of the optimiser's state is its settings, which the recipe decides.
    state: Any = get_optimizer_state_dict(model, optimizer, options=_FULL).get("state", {})
    moments = {
        f"{name}{_SEPARATOR}{key}": value.contiguous()
        for name, values in state.items()
        for key, value in values.items()
    }
    if accelerator is not None and not accelerator.is_main_process:
        return
    if not weights:
        raise CheckpointError(
            f"the checkpoint of step {step} would hold no weights: this process was given none of the model, "
            "which is divided over processes that it does not know; see docs/pretraining.md"
        )
    try:
        with folder_written_whole(folder / f"{step:08}") as partial:
            save_file(weights, partial / _MODEL)
            save_file(moments, partial / _OPTIMIZER)
            (partial / _ABOUT).write_text(json.dumps({"step": step, **about}), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        whole = checkpoints(folder)
        left = f"the one of step {int(whole[0].name)} is whole" if whole else "there is none before it"
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written into {folder} ({error}); {left}. "
            "Free some space and continue with --resume"
        ) from error
    for old in checkpoints(folder)[_KEPT:]:
        shutil.rmtree(old)
    remove_partial(folder)


def model_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights by the names of the plain model, gathered from all processes, each tensor once."""
    weights: dict[str, Any] = get_model_state_dict(model, options=_FULL)
    return {name: tensor.contiguous() for name, tensor in weights.items()}


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints, newest first."""
    return sorted((path for path in _entries(folder) if path.name.isdigit()), reverse=True)


def newest_checkpoint(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Reads the newest undamaged checkpoint; reports those that are damaged.

    Raises:
        UserError: There are checkpoints, but none can be read.
    """
    damaged = []
    for path in checkpoints(folder):
        try:
            about = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
            return Checkpoint(
                about.pop("step"), load_file(path / _MODEL), load_file(path / _OPTIMIZER), about
            )
        except (OSError, SafetensorError, ValueError, KeyError, AttributeError) as error:
            damaged.append(path)
            say(f"the checkpoint {path} is damaged ({error}); taking the one before it")
    if damaged:
        raise UserError(f"every checkpoint in {folder} is damaged; start another run")
    return None


def restore(checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Loads a checkpoint into a model and its optimiser, which Accelerate may have wrapped and sharded.

    Raises:
        UserError: The checkpoint is of another model.
    """
    try:
        set_model_state_dict(model, dict(checkpoint.model), options=_EVERYWHERE)
        # Only for its settings; offloaded to the CPU, the first process alone would get them.
        state: Any = get_optimizer_state_dict(model, optimizer, options=_EVERYWHERE)
        state["state"] = {name: {} for name in state["state"]}
        for name, tensor in checkpoint.optimizer.items():
            parameter, _, key = name.rpartition(_SEPARATOR)
            state["state"][parameter][key] = tensor
        set_optimizer_state_dict(model, optimizer, state, options=_EVERYWHERE)
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"the checkpoint is of another model ({first_line(error)}); start another run"
        ) from error


def _entries(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())
