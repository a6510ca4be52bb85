"""Measurements of layers: what can be known of them without a clock."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any
from unittest import mock

import pytest
import torch

from autobert_zero import measure
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.measure import measure_backbone, measure_forward, measure_layer
from autobert_zero.space import Backbone

CPU = torch.device("cpu")
BACKBONE = Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V\nconv 3\n(Q @ K.T + euclidean(Q, K)) @ V")


def test_each_distinct_layer_is_measured_once() -> None:
    measured = measure_backbone(BACKBONE, EncoderConfig(vocab_size=1, width=8, heads=2), 16, 2, CPU)
    assert list(measured) == list(dict.fromkeys(BACKBONE.canonical().layers))
    assert len(measured) == 3
    assert all(found.forward > 0 and found.training > 0 for found in measured.values())


def test_kept_memory_by_hand() -> None:
    """What a layer keeps grows with the batch; (n, n) matrices make it grow with the square of n."""
    config = EncoderConfig(vocab_size=1, width=8, heads=2)

    def kept(index: int, batch: int, tokens: int) -> int:
        return measure_layer(BACKBONE.layers[index], config, batch, tokens, CPU).kept

    # At least the feed-forward block's input, the value in it, and that after GELU: d + 4d + 4d floats.
    assert kept(0, 1, 64) >= 64 * 9 * 8 * 4
    assert 1.9 < kept(0, 4, 64) / kept(0, 2, 64) < 2.1
    assert 1.9 < kept(1, 2, 256) / kept(1, 2, 128) < 2.1  # fused attention keeps no map
    assert 3.5 < kept(3, 2, 512) / kept(3, 2, 256) < 4.1


def test_half_precision_is_measured_in_half_precision() -> None:
    config = EncoderConfig(vocab_size=1, width=8, heads=2)
    kept = [measure_layer(BACKBONE.layers[0], config, 4, 64, CPU, chosen).kept for chosen in ("fp32", "bf16")]
    assert kept[1] < 0.8 * kept[0]


class Clock:
    """The clock of a card, which advances when work is given to it."""

    now = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = Clock.now

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: "Clock") -> float:
        return end.at - self.at


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A card on which a captured run takes 2 ms and any other 5."""
    monkeypatch.setattr(measure, "_WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(measure, "CudaGraphs", Graphs)
    fakes: dict[str, Any] = {"device": nullcontext, "synchronize": lambda: None, "Event": Clock}
    with mock.patch.multiple(torch.cuda, **fakes):
        yield


class Graphs:
    def __init__(self, device: torch.device) -> None:
        pass

    def aside(self, run: Callable[[], None]) -> None:
        run()

    def record(self, run: Callable[[], None]) -> tuple[None, Callable[[], None]]:
        def replay() -> None:
            Clock.now += 2.0

        return None, replay


def run() -> None:
    Clock.now += 5.0


@pytest.mark.usefixtures("card")
def test_a_card_is_timed_by_its_own_clock_without_launches() -> None:
    assert measure._seconds(run, torch.device("cuda")) == pytest.approx(0.002)


@pytest.mark.usefixtures("card")
def test_a_run_that_cannot_be_captured_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graphs, "record", mock.Mock(side_effect=RuntimeError("waits while capturing")))
    assert measure._seconds(run, torch.device("cuda")) == pytest.approx(0.005)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_latency_on_a_card_grows_with_the_batch() -> None:
    config, device = EncoderConfig(vocab_size=1, width=256, heads=4), torch.device("cuda")
    small, large = (measure_forward(BACKBONE.layers[0], config, n, 512, device, "auto") for n in (16, 256))
    assert 0 < 4 * small < large
