"""The task of an evaluation, and the number of evaluations."""

from dataclasses import dataclass

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.search.config import StrategyConfig
from autobert_zero.space import Space

SIZES = EncoderConfig(vocab_size=256, width=32, heads=2, max_positions=64)
"""With tokens of a letter or two, the local order is learned within seconds, so that scores differ."""


@dataclass(frozen=True)
class Task:
    """A training from scratch that scores a backbone; each task has its own file of evaluations.

    Attributes:
        steps: Number of updates.
        batch_size: Sequences in a batch.
        learning_rate: Peak learning rate.
        validation: Number of sequences to measure the score on.
        layers: Number of layers.
        max_ops: Maximum number of operations in an attention.
    """

    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 5e-3
    validation: int = 256
    layers: int = 3
    max_ops: int = 10

    @property
    def space(self) -> Space:
        return Space(self.layers, self.max_ops)


@dataclass(frozen=True)
class Plan:
    """How much is run: evaluations of each search, its first population, paired seeds of both kinds."""

    evaluations: int = 60
    population: int = 10
    seeds: int = 10
    surrogate_seeds: int = 100
    folds: int = 5

    def strategy(self, name: str) -> StrategyConfig:
        return StrategyConfig(name=name, population=self.population, parents=5, children=1)


FULL = Task(), Plan()
QUICK = Task(steps=100), Plan(evaluations=30, population=10, seeds=2, surrogate_seeds=5)
