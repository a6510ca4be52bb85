"""One cast of all weights for a forward pass in half precision, instead of one cast per weight."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from autobert_zero.nn import MaskedLM, PreTraining
from autobert_zero.training.precision import HALF, Precision, autocast, resolve_precision


def run(model: nn.Module, precision: Precision, *arguments: Any) -> Any:
    """Calls a model under autocast.

    Off the CPU, where a launch costs more than a small cast, the weights of linear layers are cast together,
    and so are their gradients, with the same numbers as autocast's own casts. A model that is distributed,
    compiled or checkpointed is called directly.

    Args:
        model: The model on its device.
        precision: Number format.
        arguments: Arguments of the model.
    """
    device = next(model.parameters()).device
    with autocast(precision, device):
        dtype = HALF.get(resolve_precision(precision, device))
        if device.type == "cpu" or dtype is None or not torch.is_grad_enabled() or not _is_plain(model):
            return model(*arguments)
        weights = _linear_weights(model)
        halves = _Cast.apply(dtype, *weights.values())
        given = dict(zip(weights, halves, strict=True))
        return functional_call(model, given, arguments, tie_weights=False)


def _is_plain(model: nn.Module) -> bool:
    """Whether a model is one of ours, neither wrapped, compiled nor checkpointed."""
    if not isinstance(model, MaskedLM) or type(model) not in (MaskedLM, PreTraining):
        return False  # FSDP makes classes of its own
    return not is_compiled(model) and not (model.training and model.encoder.checkpointing)


def is_compiled(model: nn.Module) -> bool:
    """Whether `Module.compile` was called on a model, which DDP may have wrapped since."""
    inner = getattr(model, "module", model)
    return any(getattr(module, "_compiled_call_impl", None) is not None for module in (model, inner))


def _linear_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights that only products in half precision use, by name."""
    weights: dict[str, Tensor] = {
        f"{name}.{part}": weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        for part, weight in module.named_parameters(recurse=False)
    }
    return weights | {"bias": model.get_parameter("bias")}  # of the decoder


class _Cast(torch.autograd.Function):
    """Casts tensors to another format, and their gradients back."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.formats = [weight.dtype for weight in weights]
        copies = [torch.empty_like(weight, dtype=dtype) for weight in weights]
        torch._foreach_copy_(copies, weights)
        return tuple(copies)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        given = [
            (gradient, torch.empty_like(gradient, dtype=dtype))
            for gradient, dtype in zip(gradients, ctx.formats, strict=True)
            if gradient is not None
        ]
        if given:
            halves, copies = zip(*given, strict=True)
            torch._foreach_copy_(copies, halves)
        own = iter(copy for _, copy in given)
        return None, *(None if gradient is None else next(own) for gradient in gradients)
