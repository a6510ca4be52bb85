"""Measures the inner units of a model's feed-forward blocks on text."""

from collections.abc import Iterable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.layer import FeedForward
from autobert_zero.nn.narrow import InnerUnits
from autobert_zero.training.texts import first_sequence, texts_of


class _Sums:
    """Sums of the activations of a block's inner units and of their squares."""

    def __init__(self, inner: int) -> None:
        self.first, self.second = (torch.zeros(inner, dtype=torch.float64) for _ in range(2))
        self.mask = torch.empty(0)
        """(T, n) booleans, True at the real tokens of what is being computed."""

    def add(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Adds the inputs (T, n, inner) of the block's second projection; a hook."""
        x = inputs[0][self.mask].double()  # (tokens, inner)
        self.first += x.sum(0).cpu()
        self.second += x.square().sum(0).cpu()


@torch.no_grad()
def measure_inner_units(
    model: MaskedLM, batches: Iterable[MaskedBatch], cls_id: int, device: torch.device
) -> list[InnerUnits]:
    """Measures the activations in every layer, in single precision.

    Args:
        model: The model in evaluation mode; it is moved to the device.
        batches: Masked batches, whose original texts the model reads.
        cls_id: Id of `[CLS]`, which begins every text.
        device: Device to compute on.
    """
    encoder, tokens = model.to(device).encoder, 0
    blocks = [module for module in encoder.modules() if isinstance(module, FeedForward)]  # layer by layer
    sums = [_Sums(encoder.config.inner) for _ in blocks]
    with ExitStack() as hooks:
        for block, layer_sums in zip(blocks, sums, strict=True):
            hooks.enter_context(block.down.register_forward_pre_hook(layer_sums.add))
        for batch in batches:
            for group in texts_of(batch, cls_id) or [first_sequence(batch)]:
                mask = group.mask.to(device)
                for layer_sums in sums:
                    layer_sums.mask = mask
                tokens += int(mask.sum())
                encoder(group.ids.to(device), mask)
    units = []
    for layer_sums in sums:
        mean = layer_sums.first / tokens
        units.append(InnerUnits(mean, layer_sums.second / tokens - mean.square()))
    return units
