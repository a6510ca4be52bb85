"""Setup of Accelerate for training in several processes that a launcher started."""

import os
from typing import TYPE_CHECKING

import torch

from autobert_zero.data.shares import TIMEOUT
from autobert_zero.devices import card_count, find_device
from autobert_zero.errors import UserError, first_line
from autobert_zero.extras import require
from autobert_zero.nn.layer import EncoderLayer

if TYPE_CHECKING:
    from accelerate import Accelerator

_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Environment variables with the number of processes, from torchrun, `accelerate launch` and mpirun."""


def set_up_accelerator(device: str) -> "Accelerator | None":
    """Sets Accelerate up; returns None for a single process.

    Args:
        device: Device as `find_device` takes it; on CPUs the processes communicate by gloo.

    Raises:
        UserError: The environment is inconsistent, Accelerate does not see the processes that were started,
            or its configuration asks for something that a pre-training cannot do.
    """
    count = _started()
    if count < 2:
        # Without GPUs and MPI, `accelerate launch` sets these for any number of processes.
        if "ACCELERATE_USE_CPU" in os.environ and "MASTER_ADDR" in os.environ:
            raise UserError(
                "accelerate launch started one process where several were asked for, as it does on CPUs; "
                f"use {_torchrun('N')}"
            )
        return None
    require("a pre-training in several processes", "pretrain", "accelerate")
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs
    from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

    kind = _own_device(device).type
    try:
        accelerator = Accelerator(
            cpu=kind == "cpu",
            mixed_precision="no",  # the config's precision decides, not the launcher's
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=TIMEOUT),
                # Gradients are exchanged where they are, without copies.
                DistributedDataParallelKwargs(gradient_as_bucket_view=True),
            ],
        )
    except (ValueError, KeyError, OSError, RuntimeError) as error:  # the type depends on what is missing
        raise UserError(
            f"the environment says that {count} processes were started, but this one cannot join them "
            f"({first_line(error)}); start them with {_torchrun(count)}, or unset {', '.join(_counts())}"
        ) from error
    if accelerator.num_processes != count:
        raise UserError(
            f"{count} processes were started, but Accelerate sees {accelerator.num_processes} on device "
            f"{kind!r}; start them with {_torchrun(count)}, or choose another device"
        )
    chosen = accelerator.distributed_type
    if chosen in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise UserError(
            f"a pre-training cannot use {chosen.value}; choose FSDP, version 2, in Accelerate's config"
        )
    plugin = accelerator.state.fsdp_plugin if chosen == DistributedType.FSDP else None
    if plugin is not None and plugin.fsdp_version != 2:
        raise UserError("a pre-training needs FSDP version 2; set fsdp_version: 2 in Accelerate's config")
    if plugin is not None and plugin.auto_wrap_policy is None:
        # Layer by layer, so that one is gathered while another computes, not all weights at once.
        plugin.auto_wrap_policy = transformer_auto_wrap_policy
        plugin.transformer_cls_names_to_wrap = [EncoderLayer.__name__]
    return accelerator


def _own_device(device: str) -> torch.device:
    """Finds the device of one of several processes: with CUDA, the card that Accelerate gives it.

    That card becomes the current one before anything is computed: each process would otherwise also take
    memory of the first.
    """
    rank = os.environ.get("LOCAL_RANK", "").strip()
    cards = card_count() if device.split(":")[0] in ("auto", "cuda") else 0
    if cards and rank.isdecimal():
        card = int(rank) % cards
        torch.cuda.set_device(card)
        device = f"cuda:{card}"
    return find_device(device)


def _torchrun(count: int | str) -> str:
    return f"torchrun --nproc-per-node {count} -m autobert_zero.cli pretrain ..."


def _counts() -> dict[str, str]:
    """The variables that give the number of processes."""
    values = {name: os.environ.get(name, "").strip() for name in _COUNTS}
    return {name: text for name, text in values.items() if text}


def _started() -> int:
    """The number of processes that a launcher started, 1 without one."""
    for name, text in _counts().items():
        if not text.isdecimal() or int(text) < 1:
            raise UserError(f"{name} is {text!r} in the environment, not a number of processes; unset it")
        return int(text)
    return 1
