"""One cast of all weights gives what autocast's own casts give."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.nn import layer as layers
from autobert_zero.space import Backbone
from autobert_zero.training import half_weights
from autobert_zero.training.precision import autocast

SIZES = EncoderConfig(vocab_size=24, width=8, heads=2, max_positions=8)
BACKBONE = Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V")


def gradients(model: MaskedLM, logits: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    with torch.autograd.set_multithreading_enabled(False):
        logits.float().square().sum().backward()
    return {name: p.grad.to("cpu") for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_numbers_are_those_of_autocast(
    pretended: ModuleType, monkeypatch: pytest.MonkeyPatch, norm: str
) -> None:
    torch.manual_seed(0)
    ids, rows = torch.randint(24, (2, 8)), torch.tensor([1, 5, 9])
    with pretended.pretended_device() as counts:
        model = MaskedLM(BACKBONE, EncoderConfig(**{**vars(SIZES), "norm": norm})).to(pretended.DEVICE)
        given = ids.to(pretended.DEVICE), rows.to(pretended.DEVICE)
        counts.clear()
        logits = half_weights.run(model, "bf16", *given)
        ours, launches = gradients(model, logits), counts.launches.total()
        assert all(type(p) is type(model.bias) for p in model.parameters())  # none is left replaced
        monkeypatch.setattr(layers, "fork", lambda x: (x, x))
        counts.clear()
        with autocast("bf16", pretended.DEVICE):
            plain = model(*given)
        theirs = gradients(model, plain)
        assert launches < counts.launches.total() - 20
        assert logits.dtype == torch.bfloat16
        assert torch.equal(logits.to("cpu"), plain.to("cpu"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_layers_that_are_computed_again_see_the_same_weights(pretended: ModuleType) -> None:
    with pretended.pretended_device():
        model = MaskedLM(BACKBONE, SIZES).to(pretended.DEVICE)
        model.encoder.checkpointing = True
        given = torch.randint(24, (2, 8)).to(pretended.DEVICE), torch.tensor([1]).to(pretended.DEVICE)
        assert gradients(model, half_weights.run(model, "bf16", *given)).keys()


def test_on_a_cpu_a_model_is_called_as_it_is() -> None:
    torch.manual_seed(0)
    model = MaskedLM(BACKBONE, SIZES)
    given = torch.randint(24, (2, 8)), torch.tensor([1])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(half_weights.run(model, "bf16", *given), model(*given))
