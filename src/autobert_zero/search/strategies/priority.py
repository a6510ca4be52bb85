"""Operation priority: an upper confidence bound for every operation at every layer position."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from autobert_zero.space import Backbone


@dataclass
class OperationRecord:
    """The statistics of one operation at one layer position.

    Attributes:
        plays: Number of trials that contained it, whatever their status (N_i).
        completed: Number of those that gave a reward.
        total: Sum of their rewards; the mean is mu_i.
    """

    plays: int = 0
    completed: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float:
        """mu_i; 0, the mean of standardised rewards, if no trial has completed."""
        return self.total / self.completed if self.completed else 0.0


class OperationPriority:
    """The bandit of OP-NAS: u_i = mu_i + alpha * sqrt(2 ln N / N_i) (paper, "OP-NAS").

    Args:
        layers: Number of layer positions; each has statistics of its own.
        alpha: Weight of exploration, on the scale of standardised rewards.
    """

    def __init__(self, layers: int, alpha: float) -> None:
        self.alpha = alpha
        self.records: list[defaultdict[str, OperationRecord]] = [
            defaultdict(OperationRecord) for _ in range(layers)
        ]

    def update(self, backbone: Backbone, reward: float | None) -> None:
        """Counts a play of every operation in the backbone; the reward None: it failed or diverged."""
        positions = self.records[: len(backbone.layers)]  # it may be shallower than others
        for records, layer in zip(positions, backbone.layers, strict=True):
            for operation in sorted(layer.operations):
                record = records[operation]
                record.plays += 1
                if reward is not None:
                    record.completed += 1
                    record.total += reward

    def promise(self, backbone: Backbone) -> float:
        """Sum over the layers of the mean u_i of their operations; unplayed ones count as played once."""
        total = 0.0
        for position, layer in enumerate(backbone.layers):
            untried = self._exploration(position, 1)
            bounds = [self.bound(position, operation) for operation in sorted(layer.operations)]
            total += fmean(untried if bound == math.inf else bound for bound in bounds)
        return total

    def bound(self, position: int, operation: str) -> float:
        """u_i, with N the plays of all operations at the position; infinite for an unplayed operation."""
        record = self.records[position].get(operation)
        if record is None or not record.plays:
            return math.inf
        return record.mean + self._exploration(position, record.plays)

    def _exploration(self, position: int, plays: int) -> float:
        """alpha * sqrt(2 ln N / N_i); 0 if nothing was played."""
        total = sum(record.plays for record in self.records[position].values())
        return self.alpha * math.sqrt(2 * math.log(max(total, 1)) / plays)

    def probabilities(self, position: int, operations: Sequence[str]) -> list[float]:
        """softmax(u) over the operations; unplayed ones share all probability while there are any."""
        bounds = [self.bound(position, operation) for operation in operations]
        if math.inf in bounds:
            unplayed = [float(bound == math.inf) for bound in bounds]
            return [share / sum(unplayed) for share in unplayed]
        highest = max(bounds)
        weights = [math.exp(bound - highest) for bound in bounds]
        return [weight / sum(weights) for weight in weights]

    def draw(self, random: Random, position: int, operations: Sequence[str]) -> str:
        """Draws an operation by priority."""
        return random.choices(operations, self.probabilities(position, operations))[0]
