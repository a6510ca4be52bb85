"""Bi-branch weight sharing (BIWS): one set of weights for every candidate of a search.

Each layer position holds two branches at their largest: an attention with the projections of Q, K, V
and P, and a convolution with a kernel of 65. A candidate inherits the parts it uses, trains, and its
weights are written back (paper, "BIWS"). Beyond the paper, what Adam remembers of each weight is shared
in the same way, so that a candidate goes on with the training of the weights where the last one left it.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from autobert_zero.nn.attention import GraphAttention
from autobert_zero.nn.encoder import EncoderConfig
from autobert_zero.nn.heads import MaskedLM
from autobert_zero.space import INPUTS, KERNELS, Attention, Backbone, Convolution, parse_formula

_WIDEST = Attention(parse_formula(" + ".join(INPUTS)))
_LONGEST = Convolution(max(KERNELS))
_SIZES = ("vocab_size", "width", "heads", "inner", "max_positions", "token_types")
_MOMENTS = ("exp_avg", "exp_avg_sq")  # as PyTorch's Adams call them


class WeightBank:
    """The shared weights, one tensor per layer position and role at its largest size.

    Attributes:
        tensors: Name to tensor; the names are those of `MaskedLM`'s parameters.
        moments: Adam's running means of gradients and of their squares, each by the same names.
        updates: How many updates the weights have had, from which Adam corrects its young means.
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

        self.moments = {
            key: {name: torch.zeros_like(tensor) for name, tensor in self.tensors.items()} for key in _MOMENTS
        }
        self.updates = 0

    @torch.no_grad()
    def inherit(self, model: MaskedLM, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Copies the bank's weights into the candidate.

        Args:
            model: The candidate.
            optimizer: An Adam over its parameters, which takes over what the bank's remembers.

        Raises:
            ValueError: The candidate has another depth or other sizes.
        """
        parameters = dict(model.named_parameters())
        for own, shared in self._pairs(model, parameters, self.tensors):
            own.copy_(shared)
        if optimizer is None:
            return
        for parameter in parameters.values():
            optimizer.state[parameter] = {
                "step": torch.tensor(float(self.updates), device=parameter.device),
                **{key: torch.zeros_like(parameter) for key in _MOMENTS},
            }
        for own, shared in self._moments(model, optimizer):
            own.copy_(shared)

    @torch.no_grad()
    def absorb(self, model: MaskedLM, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Copies the candidate's weights back; what it does not use stays untouched, bit by bit.

        Args:
            model: The candidate.
            optimizer: The Adam that `inherit` prepared, to copy back what it remembers.

        Raises:
            ValueError: The candidate has another depth or other sizes.
        """
        for own, shared in self._pairs(model, dict(model.named_parameters()), self.tensors):
            shared.copy_(own)
        if optimizer is None:
            return
        for own, shared in self._moments(model, optimizer):
            shared.copy_(own)
        self.updates = max(self.updates, *(int(state["step"]) for state in optimizer.state.values()))

    def state(self) -> dict[str, Tensor]:
        """Everything as tensors with unique names, for a file; the weights' memory is shared."""
        moments = {f"{key}/{name}": tensor for key in _MOMENTS for name, tensor in self.moments[key].items()}
        return self.tensors | moments | {"updates": torch.tensor(self.updates)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes what `state` gave.

        Raises:
            ValueError: It is of a bank of other sizes.
        """
        shapes = {name: tensor.shape for name, tensor in state.items()}
        if shapes != {name: tensor.shape for name, tensor in self.state().items()}:
            raise ValueError("it is of a search with other sizes")
        self.tensors = {name: state[name] for name in self.tensors}
        self.moments = {key: {name: state[f"{key}/{name}"] for name in self.tensors} for key in _MOMENTS}
        self.updates = int(state["updates"])

    def _moments(self, model: MaskedLM, optimizer: torch.optim.Optimizer) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields parts of what the optimiser remembers with the parts of the bank they share."""
        for key in _MOMENTS:
            own = {name: optimizer.state[parameter][key] for name, parameter in model.named_parameters()}
            yield from self._pairs(model, own, self.moments[key])

    def _pairs(
        self, model: MaskedLM, owned: Mapping[str, Tensor], bank: Mapping[str, Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields parts of tensors like the candidate's parameters with the parts of the bank they share."""
        self._check(model)
        width = self.config.width
        for name, own in owned.items():
            shared = bank[name]
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
