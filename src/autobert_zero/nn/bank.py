"""Bi-branch weight sharing (BIWS): one set of weights for every candidate of a search.

Each layer position holds two branches at their largest: an attention with the projections of Q, K, V
and P, and a convolution with a kernel of 65. A candidate inherits the parts it uses, trains, and its
weights are written back (paper, "BIWS").
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from autobert_zero.nn.attention import GraphAttention
from autobert_zero.nn.encoder import EncoderConfig
from autobert_zero.nn.heads import MaskedLM
from autobert_zero.space import INPUTS, KERNELS, Attention, Backbone, Convolution, parse_formula

_WIDEST = Attention(parse_formula(" + ".join(INPUTS)))
_LONGEST = Convolution(max(KERNELS))
_SIZES = ("vocab_size", "width", "heads", "inner", "max_positions", "token_types")


class WeightBank:
    """The shared weights, one tensor per layer position and role at its largest size.

    Attributes:
        tensors: Name to tensor; the names are those of `MaskedLM`'s parameters.
        layers: Depth of the candidates.

    Args:
        config: Sizes of the candidates.
        layers: Depth of the candidates.
    """

    def __init__(self, config: EncoderConfig, layers: int) -> None:
        self.config = config
        self.layers = layers
        branches = [MaskedLM(Backbone((layer,) * layers), config) for layer in (_WIDEST, _LONGEST)]
        self.tensors: dict[str, Tensor] = {
            name: parameter.detach().clone()
            for branch in branches
            for name, parameter in branch.named_parameters()
        }

    @torch.no_grad()
    def inherit(self, model: MaskedLM) -> None:
        """Copies the bank's weights into the candidate.

        Raises:
            ValueError: The candidate has another depth or other sizes.
        """
        for own, shared in self._pairs(model):
            own.copy_(shared)

    @torch.no_grad()
    def absorb(self, model: MaskedLM) -> None:
        """Copies the candidate's weights back; what it does not use stays untouched, bit by bit.

        Raises:
            ValueError: The candidate has another depth or other sizes.
        """
        for own, shared in self._pairs(model):
            shared.copy_(own)

    def _pairs(self, model: MaskedLM) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields parts of the candidate's parameters with the parts of the bank they share."""
        self._check(model)
        width = self.config.width
        for name, own in model.named_parameters():
            shared = self.tensors[name]
            if ".attention.projection." in name:
                attention = model.get_submodule(name.rsplit(".projection.", 1)[0])
                assert isinstance(attention, GraphAttention)
                for index, source in enumerate(attention.inputs):
                    yield (
                        own.narrow(0, index * width, width),
                        shared.narrow(0, INPUTS.index(source) * width, width),
                    )
            elif name.endswith(".convolution.kernel"):
                size = own.shape[-1]
                yield own, shared.narrow(-1, (shared.shape[-1] - size) // 2, size)
            else:
                yield own, shared

    def _check(self, model: MaskedLM) -> None:
        depth = len(model.encoder.layers)
        if depth != self.layers:
            raise ValueError(f"the bank holds {self.layers} layers, the candidate has {depth}")
        for name in _SIZES:
            own, shared = getattr(model.encoder.config, name), getattr(self.config, name)
            if own != shared:
                raise ValueError(f"the bank holds weights for {name} {shared}, the candidate has {own}")
