"""The result of a candidate's training: its weights, and its optimiser's running means."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autobert_zero.nn.heads import MaskedLM
from autobert_zero.space import Backbone

MOMENTS = ("exp_avg", "exp_avg_sq")
"""PyTorch's names of Adam's running means of gradients and of their squares."""


@dataclass(frozen=True)
class Trained:
    """The result of a candidate's training, to be absorbed by the bank that it started from.

    Attributes:
        backbone: The candidate.
        weights: Its parameters, by their names in `MaskedLM`.
        moments: Adam's running means of them, by their names in the optimiser; empty if they are not shared.
        updates: Number of updates of the weights.
    """

    backbone: Backbone
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Mapping[str, Tensor]]
    updates: int

    @staticmethod
    def of(model: MaskedLM, optimizer: torch.optim.Optimizer | None = None) -> "Trained":
        """The weights of a model and the moments of its Adam, which share memory with them."""
        parameters = dict(model.named_parameters())
        weights = {name: parameter.detach() for name, parameter in parameters.items()}
        if optimizer is None:
            return Trained(model.encoder.backbone, weights, {}, 0)
        states = {name: optimizer.state[parameter] for name, parameter in parameters.items()}
        moments = {key: {name: state[key] for name, state in states.items()} for key in MOMENTS}
        # Stacked, so that the host waits for the device once.
        updates = int(torch.stack([state["step"] for state in states.values()]).max())
        return Trained(model.encoder.backbone, weights, moments, updates)

    def tensors(self, kind: str) -> Mapping[str, Tensor]:
        """The weights (`""`) or one of the means."""
        return self.moments.get(kind, {}) if kind else self.weights
