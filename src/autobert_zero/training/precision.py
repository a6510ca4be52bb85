"""Which number format is fast here."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def resolve(precision: Precision, device: torch.device) -> Precision:
    """Replaces `auto`: bf16 where the hardware multiplies it faster than fp32, else fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        return "bf16" if _cpu_multiplies_bf16() else "fp32"
    return "fp32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which to run the forward pass."""
    if resolve(precision, device) == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _cpu_multiplies_bf16() -> bool:
    """True with AMX or AVX-512 BF16; slower than fp32 where it is emulated."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name))
