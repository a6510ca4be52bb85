"""A device is tried before anything depends on it; what is wrong with one is a line. The cards are fakes."""

import multiprocessing
import os
import re
import warnings
from collections.abc import Iterator
from itertools import repeat
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from autobert_zero import cli, devices
from autobert_zero.data.masking import Vocabulary, mask_batch
from autobert_zero.devices import (
    card_count,
    cards_of,
    find_device,
    make_deterministic,
    out_of_memory,
    release_cached_memory,
)
from autobert_zero.errors import UserError
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, train
from autobert_zero.training.scratch import default_workers


def test_out_of_memory_is_told_apart_from_bugs() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(10**15)
    assert out_of_memory(refused.value)
    assert out_of_memory(MemoryError())
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    for words in (
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "MPS backend out of memory (MPS allocated: 1 GB)",
        "HIP out of memory. Tried to allocate 2.00 GiB",
        "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    ):
        assert out_of_memory(RuntimeError(words))
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert not out_of_memory(ValueError("out of memory is the name of a song"))


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mock]:
    """Two cards of compute capability 9.0, on which every kernel runs; the mock makes their tensors."""
    zeros = mock.Mock()
    monkeypatch.setattr(torch, "zeros", zeros)
    for name, value in {
        "is_available": True,
        "device_count": 2,
        "get_device_capability": (9, 0),
        "get_device_name": "GeForce GTX 780",
        "get_arch_list": ["sm_75", "sm_90"],
    }.items():
        monkeypatch.setattr(torch.cuda, name, mock.Mock(return_value=value))
    before = torch.backends.cuda.cudnn_sdp_enabled()
    yield zeros
    torch.backends.cuda.enable_cudnn_sdp(before)


def error_of(text: str) -> Any:
    return type("AcceleratorError", (RuntimeError,), {})(text)


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:1"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CUDA error: out of memory\nCUDA kernel errors might ...", "its memory is full"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x", "its memory is full"),
        (
            "CUDA error: no kernel image is available for execution on the device\nmore",
            "this build of PyTorch has no kernels for GeForce GTX 780, only for sm_75 sm_90",
        ),
        ("CUDA error: invalid device ordinal\nmore", "PyTorch sees 2 CUDA cards, cuda:0 to cuda:1; try"),
        ("CUDA error: device-side assert triggered\nmore", "CUDA error: device-side assert triggered"),
    ],
)
def test_a_card_that_computes_nothing_is_refused(
    cards: mock.Mock, name: str, text: str, message: str
) -> None:
    cards.return_value.add_.side_effect = error_of(text)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        find_device(name)
    shown = "auto (cuda)" if name == "auto" else name
    advice = "try cpu" if name == "auto" else "try auto or cpu"
    assert str(caught.value).startswith(f"device {shown!r} cannot be used: ")
    assert str(caught.value).endswith(advice)
    assert "\n" not in str(caught.value)


def test_a_card_that_is_the_only_one(cards: mock.Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    cards.return_value.add_.side_effect = error_of("CUDA error: invalid device ordinal\nmore")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"used: PyTorch sees 1 CUDA card, cuda:0; try auto or cpu$"):
        find_device("cuda:9")


@pytest.mark.parametrize("works", [False, True])
def test_warnings_about_a_card_are_shown_if_it_is_used(
    cards: mock.Mock, recwarn: pytest.WarningsRecorder, works: bool
) -> None:
    """Of a card that is too old, one line of ours says all."""

    def compute(number: int) -> mock.Mock:
        warnings.warn("Found GPU0 which is too old.\nMore lines.", stacklevel=1)
        if not works:
            raise error_of("CUDA error: no kernel image is available")
        return mock.Mock()

    cards.return_value.add_.side_effect = compute
    if works:
        find_device("cuda")
    else:
        with pytest.raises(UserError, match="has no kernels"):
            find_device("cuda")
    assert [str(each.message).startswith("Found GPU0") for each in recwarn] == [True] * works


def test_auto_takes_a_card_then_apples_gpu_then_the_cpu(
    cards: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find_device("auto") == torch.device("cuda")
    assert card_count() == 2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == torch.device("mps")
    assert card_count() == 0
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(
    ("visible", "device", "expected"),
    [
        (None, "cuda", ("0", "1")),
        ("", "cuda", ("0", "1")),
        ("5, 3", "cuda", ("5", "3")),
        ("GPU-a,GPU-b,GPU-absent", "cuda", ("GPU-a", "GPU-b")),
        ("MIG-a,MIG-b,MIG-c", "cuda", ("MIG-a", "MIG-b", "MIG-c")),
        ("5,3", "cuda:1", ()),
        (None, "cpu", ()),
        (None, "mps", ()),
    ],
)
def test_the_cards_that_workers_are_spread_over(
    cards: mock.Mock, monkeypatch: pytest.MonkeyPatch, visible: str | None, device: str, expected: tuple[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cards_of(torch.device(device)) == expected


@pytest.mark.parametrize(
    ("device", "gpu_share", "workers"),
    [
        ("cuda", 1.0, 2),
        ("cuda", 0.25, 8),
        ("cuda", 0.3, 6),
        ("cuda", 0.7, 2),
        ("cuda:1", 0.5, 2),
        ("mps", 1.0, 1),
    ],
)
def test_as_many_workers_as_fit_on_the_cards(
    cards: mock.Mock, device: str, gpu_share: float, workers: int
) -> None:
    assert default_workers(torch.device(device), gpu_share) == workers


@pytest.mark.parametrize(
    ("release", "capability", "enabled"),
    [
        ("2.10.0", 9, True),
        ("2.11.0+cu128", 9, False),
        ("2.13.1", 9, False),
        ("2.14.0a0+git1", 9, True),
        ("2.12.0", 8, True),
        ("2.12.0", 10, True),
    ],
)
def test_attention_of_cudnn_is_off_where_it_gives_nan(
    cards: mock.Mock, monkeypatch: pytest.MonkeyPatch, release: str, capability: int, enabled: bool
) -> None:
    monkeypatch.setattr(torch, "__version__", release)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (capability, 0))
    torch.backends.cuda.enable_cudnn_sdp(True)
    find_device("cuda")
    assert torch.backends.cuda.cudnn_sdp_enabled() is enabled


@pytest.mark.parametrize("apple", [True, False])
def test_cached_memory_is_released(monkeypatch: pytest.MonkeyPatch, apple: bool) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    with mock.patch("torch.cuda.empty_cache") as cuda, mock.patch("torch.mps.empty_cache") as mps:
        release_cached_memory()
    assert cuda.call_count == 1
    assert mps.call_count == apple


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (error_of("CUDA error: out of memory\nmore"), "memory is full (CUDA error: out of memory); what"),
        (MemoryError(), "memory is full (MemoryError); what was recorded is whole"),
        (
            NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device.\n"),
            "Apple's GPU lacks an operation (The operator 'aten::x' is not",
        ),
    ],
)
def test_errors_of_a_device_are_a_line_of_any_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, message: str
) -> None:
    monkeypatch.setattr(cli, "app", mock.Mock(side_effect=error))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {message}")
    assert told.count("\n") == 1


def test_other_errors_are_bugs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "app", mock.Mock(side_effect=NotImplementedError("not yet")))
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert "NotImplementedError: not yet" in capsys.readouterr().err


@pytest.fixture
def algorithms() -> Iterator[None]:
    """Any algorithms again afterwards."""
    before = torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = before


def losses_on(device: torch.device) -> list[float]:
    torch.manual_seed(0)
    model = MaskedLM(Backbone.parse("conv 5\nsoftmax(scale(Q @ K.T)) @ V"), EncoderConfig(50, 32, 4)).to(
        device
    )
    rows = np.random.default_rng(0).integers(5, 50, (16, 64)).astype(np.uint32)
    batch = mask_batch(np.random.default_rng(0), rows, Vocabulary(50, 0, 1, (2,)))
    recipe, losses = Recipe(6, 16, 1e-2, precision="fp32"), list[float]()
    train(model, repeat(batch), recipe, language_objective("fp32"), lambda step, loss: losses.append(loss))
    return losses


@pytest.mark.usefixtures("algorithms")
def test_deterministic_algorithms_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    expected = losses_on(torch.device("cpu"))
    make_deterministic()
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert losses_on(torch.device("cpu")) == expected


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def losses_of_two_runs() -> tuple[list[float], list[float]]:
    make_deterministic()
    return losses_on(find_device("auto")), losses_on(find_device("auto"))


@gpu
def test_a_card_repeats_bit_by_bit() -> None:
    """In a new process: cuBLAS chooses at its first product whether to be deterministic."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        first, second = pool.apply(losses_of_two_runs)
    assert first == second


@gpu
def test_a_card_that_there_is() -> None:
    assert find_device("auto").type == "cuda"
    assert find_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(UserError, match=f"PyTorch sees {torch.cuda.device_count()} CUDA card"):
        find_device("cuda:77")


@gpu
def test_a_card_without_room_is_told_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**46, device="cuda")
    assert devices.out_of_memory(refused.value)
    release_cached_memory()


@gpu
@pytest.mark.parametrize("tokens", [64, 192])
def test_the_gradient_of_masked_attention_is_finite(tokens: int) -> None:
    """The scores are -120, so that the logsumexp of every row is below -88: cuDNN's backward gave NaN."""
    device = find_device("auto")
    generator = torch.Generator(device).manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, tokens, 64, device=device, generator=generator).mul_(0.1).bfloat16()
    q[..., 0], k[..., 0] = 1.0, -120 * 64**0.5
    q.requires_grad_()
    mask = torch.ones(1, 1, 1, tokens, dtype=torch.bool, device=device)
    torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).sum().backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()
