"""Who is practised in a warm-up and who is trained again, without training anything."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.search.config import SearchConfig
from autobert_zero.search.fair_sharing import Rotation, due_for_retraining
from autobert_zero.search.trial import KNOWN, Outcome, Proposal, Status, Trial
from autobert_zero.settings import resolve
from autobert_zero.space import KERNEL_SIZES, Attention, Backbone, Convolution, Space

LAYERS = 3


def space(primitives: str, share: float) -> Space:
    changes = {
        "model": {"layers": LAYERS, "width": 16, "heads": 2},
        "space": {"primitives": primitives, "attention_share": share},
        "strategy": {"known": True},
    }
    return resolve(SearchConfig(), changes).bounds


SPACES = {(name, share): space(name, share) for name in ("modern", "paper") for share in (0.0, 0.5)}


@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32), st.lists(st.booleans(), max_size=60))
def test_all_kinds_are_trained_equally_long(
    which: tuple[str, float], seed: int, survived: Sequence[bool]
) -> None:
    """Whatever diverges, whose weights are dropped."""
    rotation = Rotation(SPACES[which], Random(seed))
    done = 0
    for each in survived:
        backbone = rotation.draw()
        assert backbone == backbone.canonical()
        if each:
            rotation.trained(10)
            done += 10
    for steps in rotation.steps:
        counts = [steps[kind] for kind in rotation.kinds]
        assert sum(counts) == done
        assert max(counts) - min(counts) <= 10


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_round_has_every_known_attention_and_every_kernel_at_every_position(share: float) -> None:
    bounds = SPACES["modern", share]
    rotation = Rotation(bounds, Random(1))
    backbones = []
    for _ in rotation.kinds:
        backbones.append(rotation.draw())
        rotation.trained(1)
    known = {attention.canonical() for attention in bounds.known_attentions}
    assert len(known) >= 4
    for position in range(LAYERS):
        layers = [backbone.layers[position] for backbone in backbones]
        attentions = [layer for layer in layers if isinstance(layer, Attention)]
        assert {layer for layer in layers if isinstance(layer, Convolution)} == set(
            map(Convolution, KERNEL_SIZES)
        )
        assert known <= set(attentions)
        assert len(attentions) == len(known) + (share > 0)


def test_a_rotation_is_a_function_of_the_seed() -> None:
    def drawn(seed: int) -> list[Backbone]:
        rotation = Rotation(SPACES["modern", 0.5], Random(seed))
        backbones = []
        for _ in range(9):
            backbones.append(rotation.draw())
            rotation.trained(10)
        return backbones

    assert drawn(3) == drawn(3) != drawn(4)


def trial(number: int, known: bool = False, rescored: Sequence[int] = (), pruned: bool = False) -> Trial:
    mutations = (f"{KNOWN}: x",) if known else ()
    proposal = Proposal(number, Backbone.parse("conv 3").canonical(), mutations=mutations)
    outcome = Outcome(Status.PRUNED) if pruned else Outcome(Status.COMPLETE, 0.0)
    return Trial(proposal, outcome, dict.fromkeys(rescored, 0.0))


@pytest.mark.parametrize(
    ("case", "trials", "contenders", "numbers"),
    [
        ("young ones are not", [trial(0), trial(1), trial(2)], [0, 1, 2], []),
        ("contenders of long ago are", [trial(n) for n in range(6)], [0, 1, 2, 4], [0, 1, 2]),
        ("others are not", [trial(n) for n in range(6)], [2], [2]),
        ("but for given ones", [trial(0, known=True), *(trial(n) for n in range(1, 6))], [1], [0, 1]),
        ("in the middle of a round nobody is", [trial(0, known=True), *map(trial, range(1, 6))], [], []),
        ("who was stopped is not", [trial(0, known=True, pruned=True), *map(trial, range(1, 6))], [1], [1]),
        (
            "scored again early is not trained again",
            [trial(0), trial(1), trial(2, rescored=[0]), trial(3), trial(4)],
            [0],
            [0],
        ),
        (
            "trained again at 4, not yet due at 6",
            [*map(trial, range(4)), trial(4, rescored=[0]), trial(5)],
            [0],
            [],
        ),
        (
            "trained again at 4, due at 8",
            [*map(trial, range(4)), trial(4, rescored=[0]), *map(trial, range(5, 8))],
            [0],
            [0],
        ),
    ],
)
def test_due(case: str, trials: list[Trial], contenders: list[int], numbers: list[int]) -> None:
    found = due_for_retraining(trials, [trials[number] for number in contenders], after=4)
    assert [each.proposal.number for each in found] == numbers, case
    assert due_for_retraining(trials, [trials[number] for number in contenders], after=0) == []
