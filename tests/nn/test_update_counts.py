"""Counts of how long each branch of the shared weights was trained, by tables."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nn_samples import SMALL, backbone_of, seeds

from autobert_zero.nn import MaskedLM, Trained, WeightBank
from autobert_zero.nn.update_counts import BRANCHES, branches_of, merged_counts, shortfall, zero_counts
from autobert_zero.space import Backbone
from autobert_zero.space.backbone import parse_layer
from autobert_zero.training.loop import Recipe, make_optimizer

ATTENTION, GATED, CONVOLUTION = "softmax(Q @ K.T) @ V", "P * (Q + K) + V", "conv 7"


def counts(bank: WeightBank, position: int) -> dict[str, int]:
    row = bank.update_counts[position].tolist()
    return {name: count for name, count in zip(BRANCHES, row, strict=True) if count}


@pytest.mark.parametrize(
    ("layer", "branches"),
    [
        (ATTENTION, {"Q", "K", "V", "output"}),
        (GATED, {"P", "Q", "K", "V", "output"}),
        ("softsign(Q) + K", {"Q", "K", "output"}),
        ("conv 3", {"conv 3"}),
        (CONVOLUTION, {"conv 3", "conv 5", "conv 7"}),
    ],
)
def test_what_a_layer_trains(layer: str, branches: set[str]) -> None:
    assert set(branches_of(parse_layer(layer))) == branches <= set(BRANCHES)


def test_the_mean_over_users_counts_as_the_longest_of_them() -> None:
    backbones = [Backbone.parse(text) for text in (f"{ATTENTION}\nconv 3", f"{GATED}\nconv 5")]
    table = dict(zip(BRANCHES, merged_counts(backbones, [10, 4], 2).T.tolist(), strict=True))
    assert table["Q"] == table["output"] == [10, 0]
    assert table["P"] == [4, 0]
    assert table["conv 3"] == [0, 10]
    assert table["conv 5"] == [0, 4]
    assert table["conv 65"] == [0, 0]


@pytest.mark.parametrize(
    ("trained", "short"),
    [
        ({}, 0.0),  # unknown, or nothing was trained
        ({ATTENTION: 40}, 0.0),
        ({CONVOLUTION: 40}, 1.0),
        ({CONVOLUTION: 40, ATTENTION: 10}, 0.5),
        ({CONVOLUTION: 40, ATTENTION: 20}, 0.0),
        ({CONVOLUTION: 40, ATTENTION: 90}, 0.0),
        ({CONVOLUTION: 40, "softsign(Q) + K": 90}, 1.0),  # V was never trained
    ],
)
def test_shortfall_of_an_attention(trained: dict[str, int], short: float) -> None:
    table = zero_counts(1)
    for layer, updates in trained.items():
        table = table + merged_counts([Backbone.parse(layer)], [updates], 1)
    assert shortfall(table, Backbone.parse(ATTENTION)) == pytest.approx(short)


def test_shortfall_is_the_mean_over_layers() -> None:
    table = merged_counts([Backbone.parse(f"{ATTENTION}\nconv 3")], [40], 2)
    assert shortfall(table, Backbone.parse(f"{ATTENTION}\nconv 65")) == 0.5
    assert shortfall(table, Backbone.parse(f"conv 3\n{ATTENTION}")) == 1.0


@given(st.lists(st.tuples(seeds, st.integers(0, 99)), max_size=5), seeds)
def test_shortfall_is_a_share(trained: list[tuple[int, int]], seed: int) -> None:
    table = merged_counts([backbone_of(each, 3) for each, _ in trained], [count for _, count in trained], 3)
    assert 0 <= shortfall(table, backbone_of(seed, 3)) <= 1


def learned(bank: WeightBank, text: str, steps: int) -> Trained:
    """What a candidate's training leaves, by its number of updates; the weights are as they were."""
    model = MaskedLM(Backbone.parse(text), SMALL)
    optimizer = make_optimizer(model, Recipe(steps, learning_rate=1e-3))
    bank.inherit(model, optimizer)
    for state in optimizer.state.values():
        state["step"] += steps
    return Trained.of(model, optimizer)


def test_a_bank_counts_and_keeps_what_was_trained() -> None:
    bank = WeightBank(SMALL, 2)
    bank.absorb(learned(bank, f"{ATTENTION}\nconv 3", 5))
    bank.absorb(learned(bank, f"conv 3\n{ATTENTION}", 3), learned(bank, "conv 5\nconv 3", 7))
    assert counts(bank, 0) == {"Q": 5, "K": 5, "V": 5, "output": 5, "conv 3": 7, "conv 5": 7}
    assert counts(bank, 1) == {"Q": 3, "K": 3, "V": 3, "output": 3, "conv 3": 12}
    again = WeightBank(SMALL, 2)
    again.load_state(bank.state())
    assert torch.equal(again.update_counts, bank.update_counts)
    assert again.updates == bank.updates == 12


def test_a_bank_of_before_counts_from_nothing() -> None:
    bank = WeightBank(SMALL, 2)
    bank.absorb(learned(bank, "conv 3\nconv 3", 5))
    old = {name: tensor for name, tensor in bank.state().items() if name != "practice"}
    bank.load_state(old)
    assert not bank.update_counts.any()
    assert bank.updates == 5
