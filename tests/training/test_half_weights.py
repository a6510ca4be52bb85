"""One cast of all weights gives what autocast's own casts give."""

from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.nn import layer as layers
from autobert_zero.space import Backbone
from autobert_zero.training import half_weights
from autobert_zero.training.precision import Precision, autocast

SIZES = EncoderConfig(vocab_size=24, width=8, heads=2, max_positions=8)
BACKBONE = Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V")


def gradients(model: MaskedLM, logits: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    with torch.autograd.set_multithreading_enabled(False):
        logits.float().square().sum().backward()
    return {name: p.grad.to("cpu") for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_numbers_are_those_of_autocast(
    fake_accelerator: ModuleType, monkeypatch: pytest.MonkeyPatch, norm: str
) -> None:
    torch.manual_seed(0)
    ids, rows = torch.randint(24, (2, 8)), torch.tensor([1, 5, 9])
    with fake_accelerator.fake_device() as counts:
        model = MaskedLM(BACKBONE, EncoderConfig(**{**vars(SIZES), "norm": norm})).to(fake_accelerator.DEVICE)
        given = ids.to(fake_accelerator.DEVICE), rows.to(fake_accelerator.DEVICE)
        counts.clear()
        logits = half_weights.run(model, "bf16", *given)
        ours, launches = gradients(model, logits), counts.launches.total()
        assert all(type(p) is type(model.bias) for p in model.parameters())  # none is left replaced
        monkeypatch.setattr(layers, "fork", lambda x: (x, x))
        counts.clear()
        with autocast("bf16", fake_accelerator.DEVICE):
            plain = model(*given)
        theirs = gradients(model, plain)
        assert launches < counts.launches.total() - 20
        assert logits.dtype == torch.bfloat16
        assert torch.equal(logits.to("cpu"), plain.to("cpu"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def again(model: MaskedLM) -> nn.Module:
    model.encoder.checkpointing = True
    return model


def compiled(model: MaskedLM) -> nn.Module:
    model.compile(backend="eager")
    return model


class Shared(MaskedLM):
    """As FSDP makes one."""


def shared(model: MaskedLM) -> nn.Module:
    model.__class__ = Shared
    return model


@pytest.mark.parametrize(
    ("change", "precision", "casts"),
    [
        (lambda model: model, "bf16", 1),
        (lambda model: again(model).eval(), "bf16", 1),  # computed once outside of training
        (again, "bf16", 0),
        (compiled, "bf16", 0),
        (shared, "bf16", 0),
        (nn.Sequential, "bf16", 0),
        (lambda model: model, "fp32", 0),
    ],
)
def test_which_models_are_cast_as_a_whole(
    change: Callable[[MaskedLM], nn.Module],
    precision: Precision,
    casts: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = change(MaskedLM(BACKBONE, SIZES).to("meta"))
    whole: list[str] = []

    def call(module: nn.Module, weights: dict[str, Tensor], *given: object, **options: object) -> None:
        assert all(weight.dtype == torch.bfloat16 for weight in weights.values())
        whole.append("cast")

    monkeypatch.setattr(half_weights, "functional_call", call)
    monkeypatch.setattr(half_weights, "autocast", lambda *given: nullcontext())
    monkeypatch.setattr(type(model), "__call__", lambda *given: None)
    half_weights.run(model, precision, None)
    with torch.no_grad():
        half_weights.run(model, precision, None)
    assert len(whole) == casts


def test_layers_that_are_computed_again_see_the_same_weights(fake_accelerator: ModuleType) -> None:
    torch.manual_seed(0)
    ids, rows = torch.randint(24, (2, 8)), torch.tensor([1])
    with fake_accelerator.fake_device():
        model = MaskedLM(BACKBONE, SIZES).to(fake_accelerator.DEVICE)
        given = ids.to(fake_accelerator.DEVICE), rows.to(fake_accelerator.DEVICE)
        once = gradients(model, half_weights.run(model, "bf16", *given))
        model.encoder.checkpointing = True
        twice = gradients(model, half_weights.run(model, "bf16", *given))
    assert once.keys() == twice.keys()
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_on_a_cpu_a_model_is_called_as_it_is() -> None:
    torch.manual_seed(0)
    model = MaskedLM(BACKBONE, SIZES)
    given = torch.randint(24, (2, 8)), torch.tensor([1])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(half_weights.run(model, "bf16", *given), model(*given))
