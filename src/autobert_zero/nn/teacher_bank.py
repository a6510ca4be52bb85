"""The weights that students start from: the teacher's own, and branches that learn to copy it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.bank import WeightBank
from autobert_zero.nn.heads import MaskedLM
from autobert_zero.nn.inherit import LAYERS
from autobert_zero.nn.layer import EncoderLayer
from autobert_zero.nn.trained import Trained
from autobert_zero.space import INPUTS, Attention, Backbone, Graph, Layer
from autobert_zero.space.inheritance import even_places, inputs_by_role


class TeacherBank(WeightBank):
    """Shared weights that start as a teacher's and that candidates do not change.

    A student with the teacher's own layers starts with the teacher's weights; one with fewer layers starts
    with layers spread evenly over the teacher's depth. Inputs of attention layers are shared by role: a query
    starts as the teacher's query, whatever its letter. Where the teacher has attention, the convolution
    starts as an average of its values, with new gates; `training.copying` trains both.

    Attributes:
        new: For each tensor of a branch, a mask of what the teacher does not have, on the CPU; by name.

    Args:
        config: Sizes of the teacher.
        teacher: Its backbone.
        weights: Its weights by the names of `MaskedLM`; those of the head may be missing.
        device: Where the shared weights are kept.
    """

    def __init__(
        self,
        config: EncoderConfig,
        teacher: Backbone,
        weights: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(config, len(teacher.layers), device)
        self.moments = {}
        known = {name: weights[name] for name in self.tensors if name in weights}
        # On the CPU: whoever draws a layer asks which are empty, and would wait for a card each time.
        own = {name: torch.ones(tensor.shape, dtype=torch.bool) for name, tensor in self.tensors.items()}
        for source, target in self._pairs(teacher, known, self.tensors):
            target.copy_(source)
        for _, target in self._pairs(teacher, known, own):
            target.fill_(False)
        for index, layer in enumerate(teacher.layers):
            self._begin_other_branch(f"{LAYERS}{index}.", isinstance(layer, Attention))
        branches = (".attention.", ".convolution.")
        self.new = {name: mask for name, mask in own.items() if any(branch in name for branch in branches)}

    def inherit(self, model: MaskedLM, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Copies weights into a candidate; its optimiser stays new."""
        super().inherit(model)

    def absorb(self, *trained: Trained) -> None:
        """Changes nothing: every candidate starts from the same weights."""

    def state(self) -> dict[str, Tensor]:
        """The weights."""
        return self.tensors

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: It is of a bank of other sizes.
        """
        self._check_shapes(state)
        self.tensors = {name: state[name].to(self.device) for name in self.tensors}

    def layer_weights(
        self, module: EncoderLayer, layer: Layer, position: int, tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Puts together what a layer has of tensors like the bank's; gradients flow back into them.

        Args:
            module: Such a layer; only its parameters' names and shapes are used.
            layer: The layer.
            position: Which of the teacher's layers it stands for.
            tensors: By the names of the bank's; parameters whose tensors are missing are left out.

        Returns:
            Tensors by the names of the module's parameters.
        """
        backbone, weights = Backbone((layer,) * self.layers), {}
        for name, parameter in module.named_parameters():
            shared = f"{LAYERS}{position}.{name}"
            if shared in tensors:
                parts = [part for _, part in self._pairs(backbone, {shared: parameter}, tensors)]
                weights[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
        return weights

    def _begin_other_branch(self, prefix: str, attends: bool) -> None:
        """Starts the branch that the teacher's layer does not have from the one that it has."""
        given, other = ("attention", "convolution") if attends else ("convolution", "attention")
        width = self.config.width
        for name in [name for name in self.tensors if name.startswith(f"{prefix}{other}.output.")]:
            self.tensors[name].copy_(self.tensors[name.replace(f".{other}.", f".{given}.")])
        if attends:
            value = INPUTS.index("V") * width
            for name in [
                name for name in self.tensors if name.startswith(f"{prefix}convolution.projection.")
            ]:
                values = self.tensors[name.replace(".convolution.", ".attention.")].narrow(0, value, width)
                self.tensors[name].narrow(0, 0, width).copy_(2 * values)  # a gate of 0 halves them

    def _shared_name(self, name: str, depth: int) -> str:
        if not name.startswith(LAYERS):
            return name
        index, _, rest = name.removeprefix(LAYERS).partition(".")
        return f"{LAYERS}{even_places(depth, self.layers)[int(index)]}.{rest}"

    def _shared_inputs(self, graph: Graph) -> tuple[str, ...]:
        return inputs_by_role(graph)

    def _check_depth(self, backbone: Backbone) -> None:
        if len(backbone.layers) > self.layers:
            raise ValueError(f"the bank holds {self.layers} layers, the candidate has {len(backbone.layers)}")
