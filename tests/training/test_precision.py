"""Number formats: the fast one of a device, and training in fp16 with a scaled loss."""

import math
from unittest import mock

import pytest
import torch
from easy import SIZE, VOCABULARY
from torch import Tensor

from autobert_zero.data.batches import training_batches
from autobert_zero.data.splits import Splits
from autobert_zero.errors import UserError
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training import precision as number_formats
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Diverged, Recipe, make_optimizer, train
from autobert_zero.training.precision import Precision, autocast, gradient_scaler, resolve_precision
from autobert_zero.training.update import update_unless

SIZES = EncoderConfig(vocab_size=SIZE, width=16, heads=2, max_positions=16)
HYBRID = Backbone.parse("conv 5\nsoftmax(scale(Q @ K.T)) @ V")
CPU, CARD = torch.device("cpu"), torch.device("cuda")


def card(bf16: bool, tf32: bool) -> mock._patch_dict:
    """Pretends that there is a CUDA card with or without these formats."""
    formats = {"_card_multiplies_bf16": lambda device: bf16, "_card_has_tf32": lambda device: tf32}
    return mock.patch.dict(vars(number_formats), formats)


@pytest.mark.parametrize(("fast", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_what_the_processor_is_fast_at(fast: bool, expected: Precision) -> None:
    with mock.patch("autobert_zero.training.precision._cpu_multiplies_bf16", return_value=fast):
        assert resolve_precision("auto", CPU) == expected
        assert resolve_precision("fp32", CPU) == "fp32"
        assert resolve_precision("bf16", CPU) == "bf16"
    assert resolve_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_card(bf16: bool, expected: Precision) -> None:
    with card(bf16, tf32=bf16):
        assert resolve_precision("auto", CARD) == expected
        assert resolve_precision("fp32", CARD) == "fp32"


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [
        ("bf16", CARD, "precision bf16: cuda does not compute in bf16; choose auto, fp16 or fp32"),
        ("tf32", CARD, "precision tf32: cuda has no TF32"),
        ("tf32", CPU, "precision tf32: cpu has no TF32"),
        ("tf32", torch.device("mps"), "precision tf32: mps has no TF32"),
    ],
)
def test_formats_that_a_device_lacks_are_refused(
    precision: Precision, device: torch.device, message: str
) -> None:
    with card(bf16=False, tf32=False), pytest.raises(UserError, match=message):
        resolve_precision(precision, device)


def test_tf32_holds_for_the_backward_pass_too() -> None:
    cases: tuple[tuple[Precision, bool], ...] = (("tf32", True), ("fp32", False))
    with card(bf16=True, tf32=True):
        for precision, expected in cases:
            with autocast(precision, CARD):
                pass
            assert torch.backends.cuda.matmul.allow_tf32 is expected


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_autocast(precision: Precision, kind: torch.dtype) -> None:
    x = torch.ones(2, 2)
    with autocast(precision, CPU):
        assert (x @ x).dtype == kind
    assert (x @ x).dtype == torch.float32


def trained(text: Splits, precision: Precision, steps: int = 12) -> list[float]:
    losses: list[float] = []
    torch.manual_seed(0)
    learner = MaskedLM(HYBRID, SIZES)
    recipe = Recipe(steps, 8, 0.01, precision=precision)
    batches = training_batches(text.train, VOCABULARY, 8, (0,))
    train(learner, batches, recipe, language_objective(precision), lambda step, loss: losses.append(loss))
    assert {parameter.dtype for parameter in learner.parameters()} == {torch.float32}
    return losses


def test_fp16_trains_as_fp32_does(text: Splits) -> None:
    assert trained(text, "fp16") == pytest.approx(trained(text, "fp32"), rel=0.01)


class Slope(torch.nn.Module):
    """A single weight whose loss has a gradient that is given for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))


class Number:
    """A batch that is a number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __len__(self) -> int:
        return 1

    def slice(self, start: int, stop: int) -> "Number":
        return self


def gradient(model: torch.nn.Module, micro_batch: Number, batch: Number) -> Tensor:
    """The loss: in half precision, so that what is scaled may overflow."""
    (weight,) = model.parameters()
    return (weight.half() * micro_batch.value).sum().float()


def steps_of(
    values: list[float], precision: Precision, scaler: torch.amp.GradScaler, factor: float = 1.0
) -> Slope:
    model = Slope()
    model.weight.register_hook(lambda slope: slope * factor)
    recipe = Recipe(len(values), 1, 0.1, warmup=0, clip=1.0, precision=precision)
    train(model, map(Number, values), recipe, gradient, scaler=scaler)
    return model


def test_a_step_whose_gradient_overflows_is_skipped_and_the_scale_halved() -> None:
    scaler = gradient_scaler("fp16", CPU)
    first = scaler.get_scale()
    skipped = steps_of([100.0], "fp16", scaler)  # 100 * 4,096 is more than fp16 holds
    assert skipped.weight.item() == 1.0
    assert scaler.get_scale() == first / 2
    assert steps_of([10.0], "fp16", scaler).weight.item() < 1.0
    assert scaler.get_scale() == first / 2


def test_gradients_that_overflow_at_every_scale_are_divergence() -> None:
    scaler = gradient_scaler("fp16", CPU)
    with pytest.raises(Diverged, match=r"gradient is (inf|nan) at step 13"):  # 4,096 = 2 ** 12
        steps_of([1.0] * 20, "fp16", scaler, factor=math.inf)


@pytest.mark.parametrize(
    ("precision", "norm", "stopped", "scale", "updated"),
    [
        ("fp16", 2.0, 0.0, 2.0, True),
        ("fp16", math.inf, 0.0, None, False),
        ("fp16", math.nan, 0.0, None, False),
        ("fp16", 2.0, 1.0, None, False),
        ("fp32", 2.0, 1.0, None, False),
        ("fp32", math.inf, 0.0, None, True),  # divergence, which `stopped` says, not an overflow
    ],
)
def test_updates_that_the_device_leaves_out(
    precision: Precision, norm: float, stopped: float, scale: float | None, updated: bool
) -> None:
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    ours, plain = (torch.optim.AdamW([weight], lr=0.1, fused=True) for weight in weights)
    for weight in weights:
        weight.grad = torch.tensor([1.0, -2.0])
    divisor = None if scale is None else torch.tensor(scale)
    scaler = gradient_scaler(precision, CPU)
    update_unless(ours, torch.tensor(stopped), torch.tensor(norm), divisor, scaler)
    if updated:
        weights[1].grad = torch.tensor([1.0, -2.0]) / (scale or 1.0)
        plain.step()
    torch.testing.assert_close(weights[0], weights[1])
    assert not hasattr(ours, "found_inf")
    assert not hasattr(ours, "grad_scale")
    state = ours.state[weights[0]]
    assert state["step"].item() == float(updated)
    assert bool(state["exp_avg"].any()) is updated


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_formats_have_no_scale(precision: Precision) -> None:
    assert not gradient_scaler(precision, CPU).is_enabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32", "fp32"])
def test_a_card_trains_in_every_format(text: Splits, precision: Precision) -> None:
    try:
        resolve_precision(precision, CARD)
    except UserError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    learner = MaskedLM(HYBRID, SIZES).to(CARD)
    optimizer = make_optimizer(learner, Recipe(12, 8, 0.01))
    losses: list[float] = []
    train(
        learner,
        training_batches(text.train, VOCABULARY, 8, (0,)),
        Recipe(12, 8, 0.01, precision=precision),
        language_objective(precision),
        lambda step, loss: losses.append(loss),
        optimizer,
    )
    assert losses == pytest.approx(trained(text, "fp32"), rel=0.02)
