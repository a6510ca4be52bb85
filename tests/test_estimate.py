"""A GPU is measured as the run will use it: with its batch, or the largest that fits. The card is a fake."""

from typing import Any
from unittest import mock

import pytest
import torch

from autobert_zero import estimate
from autobert_zero.announce import estimate_line
from autobert_zero.devices import find_device
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.estimate import TrainingStage, estimate_stages
from autobert_zero.plan import HARDWARE, plan
from autobert_zero.shared_config import Compile
from autobert_zero.training.precision import Precision
from autobert_zero.training.readings import Diverged
from autobert_zero.training.speed import TrainingSpeed, steady_seconds, training_speed
from autobert_zero.zoo import bert

SIZES = EncoderConfig(100, width=16, heads=2)
CARD, CPU = torch.device("cuda"), torch.device("cpu")


def stage(batch: int) -> TrainingStage:
    return TrainingStage("training", bert(1), 128, batch, 1000)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batches that were tried: of those larger than 100 none fits."""
    tried: list[int] = []

    def measure(backbone: Any, sizes: Any, batch: int, *rest: Any) -> TrainingSpeed:
        tried.append(batch)
        if batch > 100:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return TrainingSpeed(1000.0 * batch, 60, 10**9 * batch)

    monkeypatch.setattr(estimate, "training_speed", measure)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Abacus 3000")
    return tried


@pytest.mark.parametrize(
    ("device", "batch", "tried"),
    [(CARD, 64, [64]), (CARD, 256, [256, 128, 64]), (CARD, 101, [101, 50]), (CPU, 64, [16]), (CPU, 3, [3])],
)
def test_the_batch_that_is_measured(
    measured: list[int], device: torch.device, batch: int, tried: list[int]
) -> None:
    (found,) = estimate_stages([stage(batch)], SIZES, "fp32", device)
    assert measured == tried
    assert found.batch == tried[-1]
    assert found.seconds == 128 * 1000 / (1000 * tried[-1])


def test_equal_stages_are_measured_once(measured: list[int]) -> None:
    assert len(estimate_stages([stage(256), stage(256), stage(8)], SIZES, "fp32", CARD)) == 3
    assert measured == [256, 128, 64, 8]


def test_a_card_without_room_for_one_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = mock.Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory"))
    monkeypatch.setattr(estimate, "training_speed", refuse)
    with pytest.raises(torch.OutOfMemoryError):
        estimate_stages([stage(4)], SIZES, "fp32", CARD)
    assert refuse.call_count == 3


def test_weights_that_cannot_be_trained_in_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*arguments: Any) -> TrainingSpeed:
        raise Diverged("loss is nan at step 1")

    monkeypatch.setattr(estimate, "training_speed", diverge)
    says = "new weights cannot be trained in fp16: loss is nan at step 1; choose another precision"
    with pytest.raises(UserError, match=says):
        estimate_stages([stage(4)], SIZES, "fp16", CPU)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("batch", "shown"),
    [(64, "(64.00 GB measured)"), (128, "(64.00 GB measured with 64 sequences, as many as fit)")],
)
def test_plan_prints_the_measured_memory_beside_the_estimate(batch: int, shown: str) -> None:
    text = str(plan([stage(batch)], SIZES, None, 1, "fp32", CARD))
    assert f" GB of memory {shown}, 2 seconds" in text
    assert "(from 60 steps measured on Abacus 3000)" in text
    assert "measured" not in str(plan([stage(batch)], SIZES, "a100", 1, "fp32", CPU))


@pytest.mark.parametrize(
    ("hardware", "precision", "peak"),
    [
        ("a100", "tf32", ("TF32", 156e12)),
        ("a100", "fp16", ("fp16", 312e12)),
        ("a100", "bf16", ("bf16", 312e12)),
        ("t4", "auto", ("fp16", 65e12)),
        ("t4", "fp32", ("single precision", 8.1e12)),
    ],
)
def test_the_format_that_a_card_computes_in(
    hardware: str, precision: Precision, peak: tuple[str, float]
) -> None:
    assert HARDWARE[hardware].peak(precision) == peak


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_a_format_that_a_card_lacks(precision: Precision) -> None:
    with pytest.raises(UserError, match=f"precision {precision}: v100 does not compute in it"):
        HARDWARE["v100"].peak(precision)


@pytest.mark.usefixtures("measured")
def test_the_first_lines_of_a_run_name_the_measured_memory() -> None:
    line = estimate_line([stage(64), stage(32)], SIZES, "fp32", CARD)
    assert line.endswith("of training, 64.00 GB of memory (60 steps measured here)")


@pytest.mark.parametrize(
    ("mode", "measured_as", "end"),
    [
        ("off", "off", "here)"),
        ("capture", "capture", "here)"),
        ("default", "off", "here, not compiled)"),
        ("reduce-overhead", "capture", "here, not compiled)"),
    ],
)
def test_captured_steps_are_measured_and_compiled_ones_not(
    monkeypatch: pytest.MonkeyPatch, mode: Compile, measured_as: str, end: str
) -> None:
    modes: list[str] = []

    def measure(*given: Any) -> TrainingSpeed:
        modes.append(given[-1])
        return TrainingSpeed(1000.0, 60)

    monkeypatch.setattr(estimate, "training_speed", measure)
    chosen = TrainingStage("training", bert(1), 128, 8, 1000, compile=mode)
    assert estimate_line([chosen], SIZES, "fp32", CARD).endswith(end)
    assert modes == [measured_as]


@pytest.mark.parametrize(
    ("step", "runs"),
    [
        (0.5, [5, 3, 6]),
        (0.01, [5, 3, 6, 30, 60, 60, 120]),
        (1e-4, [5, 3, 6, 30, 60, 300, 600, 3000, 6000, 6000, 12000]),
    ],
)
@pytest.mark.parametrize("once", [0.0, 0.75])
def test_an_accelerator_is_measured_for_half_a_second(
    monkeypatch: pytest.MonkeyPatch, step: float, runs: list[int], once: float
) -> None:
    """What each run costs once, as a recording does, is left out."""
    now, made = 0.0, []

    def run(count: int) -> None:
        nonlocal now
        made.append(count)
        now += once + count * step

    monkeypatch.setattr("autobert_zero.training.speed.time.perf_counter", lambda: now)
    seconds, steps = steady_seconds(run, 3)
    assert (made, steps) == (runs, runs[-2])
    assert seconds == pytest.approx(step)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_card_counts_its_memory() -> None:
    """Of the model: the first product of all also allocates cuBLAS's workspace, which may be 32 MB."""
    device, sizes = find_device("auto"), EncoderConfig(100, width=256, heads=4)
    _, small, large = (training_speed(bert(2), sizes, n, 128, "auto", device, 3) for n in (16, 16, 256))
    assert small.memory is not None
    assert large.memory is not None
    assert 4 * small.memory < large.memory
    assert small.steps >= 3
