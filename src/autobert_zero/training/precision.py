"""The fast number format of a device, and what training in half precision needs."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch

from autobert_zero.errors import UserError
from autobert_zero.shared_config import Precision as Precision

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Formats in half precision."""
_TF32_CAPABILITY = (8, 0)
"""Compute capability from which CUDA cards can round the factors of single-precision products to TF32."""

_FIRST_SCALE = 2.0**12
"""Initial loss scale in fp16: with PyTorch's 2^16 a short training would lose its first steps."""
_GROWTH_INTERVAL = 500
"""Steps without an overflow after which the loss scale doubles."""
SMALLEST_SCALE = 1.0
"""Loss scale at which an overflow counts as divergence."""


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Replaces `auto` by the fast format of a device.

    That is bf16 where the hardware multiplies it, fp16 on CUDA cards without bf16 (before Ampere), else fp32.

    Raises:
        UserError: The device does not compute in the format.
    """
    if precision == "auto":
        if device.type == "cuda":
            return "bf16" if _card_multiplies_bf16(device) else "fp16"
        return "bf16" if device.type == "cpu" and _cpu_multiplies_bf16() else "fp32"
    if precision == "bf16" and device.type == "cuda" and not _card_multiplies_bf16(device):
        raise UserError(f"precision bf16: {device} does not compute in bf16; choose auto, fp16 or fp32")
    if precision == "tf32" and not _card_has_tf32(device):
        raise UserError(
            f"precision tf32: {device} has no TF32, as NVIDIA cards have from Ampere on; choose auto or fp32"
        )
    return precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context of the forward pass.

    On CUDA it also sets, for the whole process, whether products in single precision may use TF32, so that
    the backward pass, which runs outside the context, computes like the forward pass.
    """
    chosen = resolve_precision(precision, device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = chosen == "tf32"
    return torch.autocast(device.type, HALF[chosen]) if chosen in HALF else nullcontext()


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Makes a loss scaler, which in fp16 keeps gradients from underflowing and skips updates that overflow.

    Returns:
        A new scaler; it does nothing in other formats.
    """
    return torch.amp.GradScaler(
        device.type,
        init_scale=_FIRST_SCALE,
        growth_interval=_GROWTH_INTERVAL,
        enabled=resolve_precision(precision, device) == "fp16",
    )


@cache
def _card_multiplies_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def _card_has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _TF32_CAPABILITY


def _cpu_multiplies_bf16() -> bool:
    """True with AMX or AVX-512 BF16; slower than fp32 where it is emulated."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name))
