"""Bi-branch weight sharing (BIWS): one set of weights for every candidate of a search.

Each layer position holds two branches at their largest: an attention with the projections of Q, K, V
and P, and a convolution with a kernel of 65. A candidate inherits the parts it uses, trains, and its
weights are written back (paper, "BIWS"). Beyond the paper, Adam's running means of each weight are shared
in the same way, so that a candidate continues the training of the weights where the last one stopped; and
the bank counts how long each branch was trained.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from autobert_zero.encoder_config import TRUNK, EncoderConfig
from autobert_zero.nn.heads import MaskedLM
from autobert_zero.nn.trained import MOMENTS, Trained
from autobert_zero.nn.update_counts import merged_counts, zero_counts
from autobert_zero.space import INPUTS, KERNEL_SIZES, Attention, Backbone, Convolution, Graph, parse_formula

_WIDEST = Attention(parse_formula(" + ".join(INPUTS)))
_LONGEST = Convolution(max(KERNEL_SIZES))
_SIZES = ("vocab_size", "width", "heads", "inner", "length_limit", "token_types", *TRUNK)


@dataclass(frozen=True)
class _Part:
    """A part of a candidate's tensor, and where it is in the bank's: `start` along `dim` of `name`."""

    own: Tensor
    name: str
    dim: int
    start: int

    @property
    def size(self) -> int:
        return self.own.shape[self.dim]

    def within(self, tensor: Tensor) -> Tensor:
        """The same part of a tensor of the bank's shape."""
        return tensor.narrow(self.dim, self.start, self.size)

    def between(self, start: int, end: int) -> Tensor:
        """The candidate's values for an interval of the bank's tensor that lies within this part."""
        return self.own.narrow(self.dim, start - self.start, end - start)


class WeightBank:
    """The shared weights, one tensor per layer position and role at its largest size.

    Attributes:
        tensors: Name to tensor; the names are those of `MaskedLM`'s parameters.
        moments: Adam's running means of gradients and of their squares, each by the same names.
        updates: Number of updates of the weights, by which Adam corrects the bias of its running means.
        update_counts: Updates of each branch by layer position, (layers, branches), see
            `nn.update_counts`; 0 after loading a bank that did not count them.
        layers: Depth of the candidates.
        device: Device of the weights.

    Args:
        config: Sizes of the candidates.
        layers: Depth of the candidates.
        device: Device of the weights: that of the candidates, so that nothing is copied between devices.
    """

    def __init__(self, config: EncoderConfig, layers: int, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.layers = layers
        self.device = torch.device(device)
        branches = [MaskedLM(Backbone((layer,) * layers), config) for layer in (_WIDEST, _LONGEST)]
        self.tensors: dict[str, Tensor] = {
            name: parameter.detach().to(device, copy=True)
            for branch in branches
            for name, parameter in branch.named_parameters()
        }

        self.moments = {
            key: {name: torch.zeros_like(tensor) for name, tensor in self.tensors.items()} for key in MOMENTS
        }
        self.updates = 0
        self.update_counts = zero_counts(layers)

    @torch.no_grad()
    def inherit(self, model: MaskedLM, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Copies the bank's weights into the candidate.

        Args:
            model: The candidate.
            optimizer: An Adam over its parameters, which takes over the bank's running means.

        Raises:
            ValueError: The candidate has another depth or other sizes.
        """
        self._check(model)
        backbone, parameters = model.encoder.backbone, dict(model.named_parameters())
        pairs = list(self._pairs(backbone, parameters, self.tensors))
        if optimizer is not None:
            # One tensor, with one element per parameter.
            steps = torch.full((len(parameters),), float(self.updates), device=model.bias.device)
            for parameter, step in zip(parameters.values(), steps.unbind(), strict=True):
                moments = {key: torch.empty_like(parameter) for key in MOMENTS}
                optimizer.state[parameter] = {"step": step, **moments}
            for key in MOMENTS:
                own = {name: optimizer.state[parameter][key] for name, parameter in parameters.items()}
                pairs += self._pairs(backbone, own, self.moments[key])
        targets, sources = zip(*pairs, strict=True)
        torch._foreach_copy_(targets, sources)

    @torch.no_grad()
    def absorb(self, *trained: Trained) -> None:
        """Writes back the mean of each trained weight over the candidates that used it.

        Weights that none of them used keep every bit.

        Args:
            trained: Results of candidates that started from the bank as it is.

        Raises:
            ValueError: A candidate has another depth.
        """
        for one in trained:
            self._check_depth(one.backbone)
        for kind, shared in (("", self.tensors), *self.moments.items()):
            parts: dict[str, list[_Part]] = defaultdict(list)
            for one in trained:
                for part in self._parts(one.backbone, one.tensors(kind)):
                    parts[part.name].append(part)
            pairs = [pair for name, users in parts.items() for pair in _part_means(shared[name], users)]
            if pairs:
                targets, sources = zip(*pairs, strict=True)
                torch._foreach_copy_(targets, sources)
        backbones = [one.backbone for one in trained]
        steps = [one.updates - self.updates for one in trained]
        self.update_counts = self.update_counts + merged_counts(backbones, steps, self.layers)
        self.updates = max([self.updates, *(one.updates for one in trained)])

    def state(self) -> dict[str, Tensor]:
        """Everything as tensors with unique names, for a file; the weights' memory is shared."""
        moments = {f"{key}/{name}": tensor for key in MOMENTS for name, tensor in self.moments[key].items()}
        counts = {"updates": torch.tensor(self.updates), "practice": self.update_counts}
        return self.tensors | moments | counts

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: It is of a bank of other sizes.
        """
        state = {"practice": zero_counts(self.layers), **state}
        self._check_shapes(state)
        self.tensors = {name: state[name].to(self.device) for name in self.tensors}
        self.moments = {
            key: {name: state[f"{key}/{name}"].to(self.device) for name in self.tensors} for key in MOMENTS
        }
        self.updates = int(state["updates"])
        self.update_counts = state["practice"]

    def _check_shapes(self, state: Mapping[str, Tensor]) -> None:
        shapes = {name: tensor.shape for name, tensor in state.items()}
        if shapes != {name: tensor.shape for name, tensor in self.state().items()}:
            raise ValueError("it is of a search with other sizes or another trunk")

    def _pairs(
        self, backbone: Backbone, owned: Mapping[str, Tensor], bank: Mapping[str, Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields parts of tensors like the candidate's parameters with the parts of the bank they share."""
        for part in self._parts(backbone, owned):
            yield part.own, part.within(bank[part.name])

    def _parts(self, backbone: Backbone, owned: Mapping[str, Tensor]) -> Iterator[_Part]:
        """Divides tensors like the candidate's parameters by where the bank has them."""
        width = self.config.width
        for name, own in owned.items():
            shared = self._shared_name(name, len(backbone.layers))
            if ".attention.projection." in name:
                layer = backbone.layers[int(name.split(".")[2])]  # encoder.layers.<index>. ...
                assert isinstance(layer, Attention)
                for index, source in enumerate(self._shared_inputs(layer.graph)):
                    block = own.narrow(0, index * width, width)
                    yield _Part(block, shared, 0, INPUTS.index(source) * width)
            elif name.endswith(".convolution.kernel"):
                dim = own.ndim - 1
                yield _Part(own, shared, dim, (max(KERNEL_SIZES) - own.shape[dim]) // 2)
            else:
                yield _Part(own, shared, 0, 0)

    def _shared_name(self, name: str, depth: int) -> str:
        """The shared tensor for a parameter of a candidate of some depth."""
        return name

    def _shared_inputs(self, graph: Graph) -> tuple[str, ...]:
        """The shared input for each input of a graph."""
        return graph.inputs

    def _check(self, model: MaskedLM) -> None:
        self._check_depth(model.encoder.backbone)
        for name in _SIZES:
            own, shared = getattr(model.encoder.config, name), getattr(self.config, name)
            if own != shared:
                raise ValueError(f"the bank holds weights for {name} {shared}, the candidate has {own}")

    def _check_depth(self, backbone: Backbone) -> None:
        depth = len(backbone.layers)
        if depth != self.layers:
            raise ValueError(f"the bank holds {self.layers} layers, the candidate has {depth}")


def _part_means(shared: Tensor, users: Sequence[_Part]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the parts of a shared tensor that are used, each with the mean of its users."""
    dim = users[0].dim
    cuts = sorted({cut for part in users for cut in (part.start, part.start + part.size)})
    for start, end in pairwise(cuts):
        given = [
            part.between(start, end).to(shared.device)
            for part in users
            if part.start <= start and end <= part.start + part.size
        ]
        if given:
            total = sum(given[1:], start=given[0])
            yield shared.narrow(dim, start, end - start), total / len(given) if given[1:] else total


class NoSharing:
    """Takes the place of a bank: every candidate starts from new weights, and its training is dropped."""

    def inherit(self, model: MaskedLM, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Leaves the candidate as it is."""

    def absorb(self, *trained: Trained) -> None:
        """Keeps nothing."""

    def state(self) -> dict[str, Tensor]:
        """An empty state: a bank without weights has nothing to save."""
        return {"updates": torch.tensor(0)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Accepts what `state` returned.

        Raises:
            ValueError: It has weights.
        """
        if set(state) != {"updates"}:
            raise ValueError("it has shared weights, and this search shares none")
