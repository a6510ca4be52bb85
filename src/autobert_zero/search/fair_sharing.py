"""Keeps shared weights fair: which layers the warm-up trains, and which candidates are trained again."""

from collections import Counter
from collections.abc import Sequence
from random import Random

from autobert_zero.search.trial import Status, Trial
from autobert_zero.space import KERNEL_SIZES, Attention, Backbone, Convolution, Layer, Space, sample_graph


class Rotation:
    """Backbones for a warm-up that trains all kinds of layers equally long at every position.

    The kinds are the known layers of the space, every kernel and, if the space samples attentions, a random
    attention.

    Args:
        space: The space, with known backbones.
        random: Chooses among kinds that were trained equally long.
    """

    def __init__(self, space: Space, random: Random) -> None:
        sampled = (None,) if space.attention_share else ()
        known = (backbone.canonical() for backbone in warmup_layers(space))
        self.kinds: tuple[Layer | None, ...] = (*known, *sampled)
        self.steps = [Counter[Layer | None]() for _ in range(space.layers)]
        self._space = space
        self._random = random
        self._drawn: list[Layer | None] = []

    def draw(self) -> Backbone:
        """A backbone with the least trained kind at every position."""
        self._drawn = [self._least(steps) for steps in self.steps]
        return Backbone(tuple(self._sampled() if kind is None else kind for kind in self._drawn)).canonical()

    def trained(self, steps: int) -> None:
        """Records that the last backbone was trained for the given number of steps."""
        for kind, counts in zip(self._drawn, self.steps, strict=True):
            counts[kind] += steps

    def _least(self, steps: Counter[Layer | None]) -> Layer | None:
        fewest = min(steps[kind] for kind in self.kinds)
        return self._random.choice([kind for kind in self.kinds if steps[kind] == fewest])

    def _sampled(self) -> Attention:
        return Attention(sample_graph(self._random, self._space.max_ops, self._space.primitives))


def warmup_layers(space: Space) -> list[Layer]:
    """The distinct attentions of a space's known backbones, and every convolution."""
    return [*space.known_attentions, *(Convolution(kernel) for kernel in KERNEL_SIZES)]


def due_for_retraining(trials: Sequence[Trial], contenders: Sequence[Trial], after: int) -> list[Trial]:
    """The candidates to train again before parents are chosen, because the bank has moved far since.

    Earlier trainings of this kind are not recorded: they follow from the history by this rule.

    Args:
        trials: All trials so far.
        contenders: Trials that may become parents.
        after: Number of trained candidates after which the bank has moved far; 0: nothing is trained again.

    Returns:
        Contenders, and completed candidates that the search was given, that were last trained at least
        `after` candidates ago.
    """
    if not after or not contenders:
        return []
    last: dict[int, int] = {}
    for now, trial in enumerate(trials):
        last[trial.proposal.number] = now
        for number in trial.rescored:
            if now - last[number] >= after:
                last[number] = now
    numbers = {trial.proposal.number for trial in contenders}
    return [
        trial
        for trial in trials
        if len(trials) - last[trial.proposal.number] >= after
        and trial.outcome.status is Status.COMPLETE
        and (trial.proposal.number in numbers or trial.proposal.given)
    ]
