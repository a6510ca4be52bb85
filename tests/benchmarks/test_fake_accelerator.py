"""A fake accelerator computes as the CPU does, and counts launches and waits."""

from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F


def test_values_and_gradients_are_those_of_the_cpu(fake_accelerator: ModuleType) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(3, 4), torch.nn.Linear(4, 5)
    layer(x).square().sum().backward()
    expected = layer.weight.grad
    with fake_accelerator.fake_device():
        there = torch.nn.Linear(4, 5)
        there.load_state_dict(layer.state_dict())
        there.to(fake_accelerator.DEVICE)
        there(x.to(fake_accelerator.DEVICE)).square().sum().backward()
        assert not there.weight.is_cpu
        assert there.weight.grad is not None
        assert expected is not None
        assert torch.equal(there.weight.grad.to("cpu"), expected)


@pytest.mark.parametrize(
    ("act", "waits"),
    [
        (lambda x: x.sum().item(), 1),
        (lambda x: float(x[0, 0]), 1),
        (lambda x: x[x > 0], 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: x.to("cpu"), 1),
        (lambda x: torch.ones(3).to(x.device), 1),
        (lambda x: torch.ones(3).to(x.device, non_blocking=True), 1),  # from memory that is not pinned
        (lambda x: torch.ones(3).pin_memory().to(x.device, non_blocking=True), 0),
        (lambda x: torch.ones(3, device=x.device), 0),
        (lambda x: (x @ x.mT).softmax(-1).cumsum(0), 0),
        (lambda x: x[torch.zeros(2, dtype=torch.long, device=x.device)], 0),
    ],
)
def test_it_knows_what_waits(fake_accelerator: ModuleType, act: object, waits: int) -> None:
    assert callable(act)
    with fake_accelerator.fake_device() as counts:
        x = torch.randn(3, 4).to(fake_accelerator.DEVICE)
        counts.clear()
        act(x)
        assert counts.waits.total() == waits


def test_views_and_allocations_are_no_launches(fake_accelerator: ModuleType) -> None:
    with fake_accelerator.fake_device() as counts:
        x = torch.randn(3, 4).to(fake_accelerator.DEVICE)
        counts.clear()
        y = torch.empty_like(x.view(2, 6).t()[1:])
        assert not counts.launches
        y.fill_(1.0)
        _ = x + x
        assert dict(counts.launches) == {"fill_": 1, "add": 1}


def test_autocast_is_that_of_a_gpu(fake_accelerator: ModuleType) -> None:
    """Products in half precision with a cast of each weight, norms in single."""
    with fake_accelerator.fake_device() as counts:
        x = torch.randn(3, 4).to(fake_accelerator.DEVICE)
        layer = torch.nn.Linear(4, 4).to(fake_accelerator.DEVICE)

        def formats() -> list[Tensor]:
            return [layer(x), layer(x), F.layer_norm(layer(x), (4,))]

        counts.clear()
        with torch.autocast(fake_accelerator.DEVICE.type, torch.bfloat16):
            halves = formats()
        assert [each.dtype for each in halves] == [torch.bfloat16, torch.bfloat16, torch.float32]
        assert counts.launches["_to_copy"] == 3 + 2 + 1  # x each time, weight and bias once, the norm's input
        assert counts.waits.total() == 0
