"""Limits: refused before any training, and contradictions named."""

from random import Random

import pytest

from autobert_zero import cost
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.search.config import LimitsConfig
from autobert_zero.search.limits import Costs, Limits
from autobert_zero.space import Backbone, Layer, Space, sample_backbone

SIZES = EncoderConfig(vocab_size=500, width=32, heads=2, max_positions=64)
SPACE = Space(layers=3, max_ops=6)
SMALL = Backbone.parse("Q + K\nQ + K\nQ + K").canonical()


def latency(layer: Layer) -> float:
    """As if a character took 0.1 ms."""
    return len(str(layer)) / 10


def limited(**settings: float) -> Limits:
    return Limits(LimitsConfig.model_validate(settings), Costs(SIZES, 64, latency))


def test_costs_of_a_backbone() -> None:
    backbone = Backbone.parse("conv 3\nconv 65\nconv 3").canonical()
    assert Costs(SIZES, 64, latency).of(backbone) == {
        "parameters": cost.parameters(backbone, SIZES),
        "flops": cost.flops(backbone, SIZES, 64),
        "latency_ms": pytest.approx(0.6 + 0.7 + 0.6),
    }
    assert set(Costs(SIZES, 64).of(backbone)) == {"parameters", "flops"}


@pytest.mark.parametrize("name", ["parameters", "flops", "latency_ms"])
def test_refuses_above_and_not_at_the_limit(name: str) -> None:
    backbone = Backbone.parse("conv 3\nconv 65\nsoftmax(Q @ K.T) @ V").canonical()
    value = Costs(SIZES, 64, latency).of(backbone)[name]
    setting = {"parameters": "max_params", "flops": "max_flops", "latency_ms": "max_latency_ms"}[name]
    assert limited(**{setting: value}).refusal(backbone) is None
    below = int(value) - 1 if name == "parameters" else value * 0.999
    reason = limited(**{setting: below}).refusal(backbone)
    assert reason is not None
    assert f"limits.{setting}" in reason


def test_no_limit_refuses_nothing() -> None:
    random = Random(0)
    assert not any(limited().refusal(sample_backbone(random, SPACE).canonical()) for _ in range(50))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["max_params", "max_flops"])
def test_the_least_is_the_least_of_many(name: str, share: float) -> None:
    """At the least of 500 random backbones a search is possible; below the true least it is not."""
    space = Space(layers=2, max_ops=4, attention_share=share)
    function = Costs(SIZES, 64).functions()["parameters" if name == "max_params" else "flops"]
    random = Random(1)
    least = min(function(sample_backbone(random, space).canonical()) for _ in range(500))
    limited(**{name: least}).check(space)
    with pytest.raises(UserError, match=rf"limits.{name} = .* cannot be met: the least of 2 layers .* is \d"):
        limited(**{name: int(least * 0.7)}).check(space)


def test_latency_that_nothing_meets() -> None:
    with pytest.raises(
        UserError, match=r"limits.max_latency_ms = 1.0 cannot be met: .* is 1.5 ms of latency"
    ):
        limited(max_latency_ms=1.0).check(SPACE)


def test_limits_that_nothing_meets_together() -> None:
    def heavy_where_small(layer: Layer) -> float:
        return 0.1 if str(layer) == "conv 65" else 9.0

    least = cost.parameters(SMALL, SIZES)
    config = LimitsConfig(max_params=least, max_latency_ms=1.0)
    with pytest.raises(UserError, match=r"max_params and limits.max_latency_ms cannot be met together"):
        Limits(config, Costs(SIZES, 64, heavy_where_small)).check(SPACE)


def test_a_backbone_of_the_user_over_a_limit() -> None:
    limits = limited(max_params=cost.parameters(SMALL, SIZES))
    limits.check(SPACE, [SMALL])
    with pytest.raises(UserError, match=r"a seed backbone has .* parameters, more than limits.max_params"):
        limits.check(SPACE, [Backbone.parse("Q + K + V\nQ + K\nQ + K")])


def test_a_speedup_is_relative_to_the_model_that_the_search_starts_from() -> None:
    teacher = Backbone.parse("conv 65\nconv 65\nconv 65")  # 2.1 ms
    limits = Limits(LimitsConfig(min_speedup=3), Costs(SIZES, 64, latency), teacher)
    assert limits.refusal(Backbone.parse("conv 65").canonical()) is None
    reason = limits.refusal(Backbone.parse("conv 3\nconv 3").canonical())
    assert reason == "1.2 ms of latency, more than limits.min_speedup = 3 (0.7 of 2.1 ms)"
    # One layer of 0.5 ms is the least: 4.2 times as fast.
    space = Space(layers=3, max_ops=6, min_layers=1)
    limits.check(space)
    with pytest.raises(UserError, match=r"5 \(0.42 of 2.1 ms\) cannot be met: .* 4.2 times as fast"):
        Limits(LimitsConfig(min_speedup=5), Costs(SIZES, 64, latency), teacher).check(space)


def test_the_teacher_is_measured_once_and_in_canonical_form() -> None:
    measured: list[str] = []

    def count(layer: Layer) -> float:
        measured.append(str(layer))
        return 1.0

    teacher = Backbone.parse("V + Q\nconv 3")
    limits = Limits(LimitsConfig(min_speedup=1), Costs(SIZES, 64, count), teacher)
    own = teacher.canonical()
    assert [limits.refusal(own) for _ in range(3)] == [None] * 3
    assert measured == ["Q + K", "conv 3"] * 4  # once for the teacher, then for each draw
    assert limits.costs.of(teacher)["latency_ms"] == 2.0
    assert set(measured) == {"Q + K", "conv 3"}


@pytest.mark.parametrize(("most", "deepest"), [(0.6, 1), (1.2, 2), (1.7, 3), (9.0, 3)])
def test_depths_that_no_cheap_stack_has_within_the_limits_are_left_out(most: float, deepest: int) -> None:
    known = (("x", Backbone.parse("\n".join(["conv 3"] * 3))),)
    space = Space(layers=3, max_ops=6, known=known, min_layers=1)
    within = limited(max_latency_ms=most).within(space)
    assert within.depths == range(1, deepest + 1)
    assert within.known == (known if deepest == 3 else ())
