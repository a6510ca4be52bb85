"""Narrower feed-forward blocks: which inner units stay, and what their loss changes."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.layer import FeedForward
from autobert_zero.nn.narrow import InnerUnits, narrow_feed_forward
from autobert_zero.space import Backbone
from autobert_zero.training.inner_units import measure_inner_units

CPU = torch.device("cpu")
LAYERS = Backbone.parse("softmax(scale(Q @ K.T)) @ V\nconv 3")
BERTS = EncoderConfig(vocab_size=30, width=8, heads=2, feed_forward=12, max_positions=32)
MODERN = replace(BERTS, norm="pre", feed_forward_kind="geglu", positions="none", biases=False)


def model(sizes: EncoderConfig) -> MaskedLM:
    torch.manual_seed(0)
    made = MaskedLM(LAYERS, sizes).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    return made


def batch() -> MaskedBatch:
    """Two packed sequences of several texts, without masked tokens."""
    torch.manual_seed(1)
    starts = torch.zeros(2, 16, dtype=torch.bool)
    starts[:, 0] = starts[0, 6] = starts[1, 9] = True
    none = torch.empty(0, dtype=torch.long)
    return MaskedBatch(torch.randint(5, 30, (2, 16)), none, none, starts=starts)


def narrowed(source: MaskedLM, inner: int) -> MaskedLM:
    sizes = source.encoder.config
    units = measure_inner_units(source, [batch()], 2, CPU)
    made = MaskedLM(LAYERS, replace(sizes, feed_forward=inner)).eval()
    made.load_state_dict(narrow_feed_forward(source.state_dict(), sizes, units, inner))
    return made


def blocks(of: MaskedLM) -> list[FeedForward]:
    return [module for module in of.modules() if isinstance(module, FeedForward)]


@pytest.mark.parametrize("sizes", [BERTS, MODERN])
def test_units_that_never_change_are_dropped_without_a_trace(sizes: EncoderConfig) -> None:
    """With biases a unit may have any constant value, without them it has to be 0."""
    source = model(sizes)
    idle = [1, 2, 5, 11]
    for block in blocks(source):
        with torch.no_grad():
            block.up.weight[idle] = 0
    ids = torch.randint(30, (2, 9))
    torch.testing.assert_close(narrowed(source, 8).encoder(ids), source.encoder(ids))
    assert not torch.allclose(narrowed(source, 7).encoder(ids), source.encoder(ids))


@pytest.mark.parametrize("sizes", [BERTS, MODERN])
def test_all_units_kept_are_the_same_model(sizes: EncoderConfig) -> None:
    source = model(sizes)
    made = narrowed(source, sizes.inner).state_dict()
    assert all(torch.equal(made[name], tensor) for name, tensor in source.state_dict().items())


@pytest.mark.parametrize(
    ("sizes", "kept", "bias"),
    [
        # The errors are variance x squared norm of a column of `down`: 4, 9, 1 and 0.25; the means of the
        # two that go, 3 and 8, times their columns, 1 and 0.5, move into the bias.
        (replace(BERTS, width=1, heads=1, feed_forward=4), [0, 1], 3 * 1 + 8 * 0.5),
        # Without biases the squared means count too: 4 + 4, 9, 1 + 9 and 0.25 + 16.
        (replace(MODERN, width=1, heads=1, feed_forward=4), [2, 3], None),
    ],
)
def test_the_units_that_stay_by_table(sizes: EncoderConfig, kept: list[int], bias: float | None) -> None:
    up = torch.arange(8.0 if bias is None else 4.0)[:, None]
    block = "encoder.layers.0.feed_forward"
    weights = {f"{block}.up.weight": up, f"{block}.down.weight": torch.tensor([[2.0, 1.0, 1.0, 0.5]])}
    if bias is not None:
        weights |= {f"{block}.up.bias": torch.arange(4.0), f"{block}.down.bias": torch.tensor([10.0])}
    units = InnerUnits(*torch.tensor([[1.0, 0.0, 3.0, 8.0], [1.0, 9.0, 1.0, 1.0]], dtype=torch.float64))
    made = narrow_feed_forward(weights, sizes, [units], 2)
    rows = kept if bias is not None else [*kept, *(4 + unit for unit in kept)]
    assert made[f"{block}.up.weight"].flatten().tolist() == rows
    assert made[f"{block}.down.weight"].tolist() == [
        [weights[f"{block}.down.weight"][0, unit] for unit in kept]
    ]
    if bias is not None:
        assert made[f"{block}.up.bias"].tolist() == kept
        assert made[f"{block}.down.bias"].tolist() == [10 + bias]


@pytest.mark.parametrize("sizes", [BERTS, MODERN])
def test_units_are_measured_text_by_text(sizes: EncoderConfig) -> None:
    """As when each text is computed alone, after [CLS] and without padding."""
    source, cls_id = model(sizes), 2
    inputs: list[list[torch.Tensor]] = [[], []]

    def keep(into: list[torch.Tensor]) -> Any:
        return lambda module, given: into.append(given[0][0].double())

    given = batch()
    hooks = [
        each.down.register_forward_pre_hook(keep(into))
        for each, into in zip(blocks(source), inputs, strict=True)
    ]
    for row, cut in zip(given.ids, (6, 9), strict=True):
        for text in (row[:cut], row[cut:]):
            ids = torch.cat([torch.tensor([cls_id]), text])[None]
            with torch.no_grad():
                source.encoder(ids)
    for hook in hooks:
        hook.remove()
    for each, into in zip(measure_inner_units(source, [given], cls_id, CPU), inputs, strict=True):
        expected = torch.cat(into)
        torch.testing.assert_close(each.mean, expected.mean(0), rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(each.variance, expected.var(0, correction=0), rtol=1e-4, atol=1e-7)
