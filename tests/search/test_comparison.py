"""Who is trained, at which rate and for how long, and what is concluded: without training anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.search.comparison import (
    Model,
    Training,
    best_rates,
    compare_models,
    with_parameters,
)
from autobert_zero.search.training_config import FinalConfig
from autobert_zero.space import Backbone

SIZES = EncoderConfig(vocab_size=100, width=16, heads=2, max_positions=32)
MODELS = {
    "best": Model(Backbone.parse("conv 3\nQ + softsign(K)"), SIZES),
    "bert": Model(Backbone.parse("softmax(scale(Q @ K.T)) @ V\nsoftmax(scale(Q @ K.T)) @ V"), SIZES),
    "convolution": Model(Backbone.parse("conv 9\nconv 7"), SIZES),
}
FINAL = FinalConfig(steps=1000, screening_steps=100, rates=(1e-3, 2e-3, 4e-3))
SPEEDS = {"best": 100.0, "bert": 50.0, "convolution": 150.0}


@dataclass(frozen=True)
class Fake:
    selection_loss: float | None
    val_loss: float | None

    @property
    def status(self) -> str:
        return "complete" if self.val_loss else "diverged"

    def to_dict(self) -> dict[str, Any]:
        return {"val_loss": self.val_loss, "status": self.status}


class Trainer:
    """Losses by a table of names, or 5 minus the logarithm of what was trained; keeps what was asked for."""

    def __init__(self, losses: Mapping[str, float | None] | None = None) -> None:
        self.losses = losses or {}
        self.asked: dict[str, Training] = {}

    def __call__(self, trainings: Sequence[Training]) -> dict[str, Fake]:
        self.asked |= {training.name: training for training in trainings}
        losses = {each.name: self.losses.get(each.name, 5 - each.steps / 1000) for each in trainings}
        return {name: Fake(loss, None if loss is None else loss + 0.1) for name, loss in losses.items()}


def run(trainer: Trainer, final: FinalConfig = FINAL) -> dict[str, Any]:
    return compare_models(MODELS, final, 7, 8, 32, trainer, lambda name, model: SPEEDS[name])


def test_each_model_is_trained_at_its_own_best_rate() -> None:
    trainer = Trainer(
        {
            "rate-best-0.001": 4.0,
            "rate-bert-0.002": 4.0,
            "rate-convolution-0.004": None,
            "rate-best-0.004": 3.9,
        }
    )
    summary = run(trainer)
    assert trainer.asked["best"].learning_rate == summary["best"]["learning_rate"] == 4e-3
    assert trainer.asked["bert"].learning_rate == 2e-3
    assert trainer.asked["convolution"].learning_rate == 1e-3
    tried = [each for name, each in trainer.asked.items() if name.startswith("rate-")]
    assert len(tried) == 9
    assert {(each.steps, each.seed) for each in tried} == {(100, 8)}
    assert {(each.steps, each.seed) for name, each in trainer.asked.items() if name in MODELS} == {(1000, 7)}
    assert [name for name, each in trainer.asked.items() if each.keep_weights] == ["best"]


def test_one_rate_is_not_tried() -> None:
    trainer = Trainer()
    assert best_rates(MODELS, FinalConfig(learning_rate=2e-3), 0, trainer) == dict.fromkeys(MODELS, 2e-3)
    assert not trainer.asked


def test_where_all_rates_diverge_the_lowest_is_taken() -> None:
    losses = dict.fromkeys([f"rate-bert-{rate:g}" for rate in FINAL.rates])
    assert best_rates(MODELS, FINAL, 0, Trainer(losses))["bert"] == 1e-3


def test_equal_time_is_as_many_steps_as_the_speed_allows() -> None:
    trainer = Trainer()
    summary = run(trainer)
    assert trainer.asked["equal-time-bert"].steps == 500
    assert trainer.asked["equal-time-convolution"].steps == 1500
    assert "equal-time-best" not in trainer.asked
    assert summary["bert"]["val_loss_equal_time"] == pytest.approx(4.6)
    assert summary["best"]["val_loss_equal_time"] == summary["best"]["val_loss"] == pytest.approx(4.1)
    assert summary["convolution"]["tokens_per_second"] == 150


def test_equal_time_may_be_left_out() -> None:
    trainer = Trainer()
    summary = run(trainer, FINAL.model_copy(update={"equal_time": False}))
    assert not [name for name in trainer.asked if "equal-time" in name]
    assert summary["bert"]["val_loss_equal_time"] is None


def test_the_strongest_opponent_is_also_trained_with_the_winners_weights() -> None:
    trainer = Trainer({"best": 3.0, "wide": 3.2, "convolution": 3.5})
    wide = Model(MODELS["bert"].backbone, replace(SIZES, feed_forward=100))
    models = {"best": MODELS["best"], "wide": wide, "convolution": MODELS["convolution"]}
    summary = compare_models(models, FINAL, 7, 8, 32, trainer, lambda name, model: 1.0)
    assert summary["strongest"] == summary["equal_weights"]["opponent"] == "wide"
    target = MODELS["best"].parameters
    assert wide.parameters > 1.1 * target
    assert summary["equal_weights"]["parameters"] == pytest.approx(target, rel=0.01)
    trained = trainer.asked["equal-weights-wide"].model
    assert trained.backbone == wide.backbone
    assert trained.sizes.inner == summary["equal_weights"]["inner"] < 100


def test_an_opponent_with_the_winners_weights_is_not_trained_twice() -> None:
    trainer = Trainer({"best": 3.0, "other": 3.5})
    models = {"best": MODELS["best"], "other": Model(Backbone.parse("conv 3\nQ + logsigmoid(K)"), SIZES)}
    summary = compare_models(models, FINAL, 7, 8, 32, trainer, lambda name, model: 1.0)
    assert models["other"].parameters == models["best"].parameters
    assert "equal-weights-other" not in trainer.asked
    assert summary["equal_weights"]["val_loss"] == summary["other"]["val_loss"]


def test_an_opponent_that_is_found_again_is_the_winner() -> None:
    """Whatever the names of its projections; in another trunk it is another model."""
    trainer = Trainer({"best": 3.0, "convolution": 3.5, "in another trunk": 3.6})
    again = Backbone.parse("conv 3\nsoftsign(Q) + K")
    models = MODELS | {
        "best": Model(Backbone.parse("conv 3\nV + softsign(P)"), SIZES),
        "again": Model(Backbone.parse("conv 3\nsoftsign(P) + V"), SIZES),
        "in another trunk": Model(again, replace(SIZES, norm="pre")),
    }
    summary = compare_models(models, FINAL, 7, 8, 32, trainer, lambda name, model: SPEEDS.get(name, 1.0))
    assert summary["found_again"] == ["again"]
    assert not [name for name in trainer.asked if "again" in name]
    shared = summary["again"].keys() - {"backbone"}
    assert {key: summary["again"][key] for key in shared} == {key: summary["best"][key] for key in shared}
    assert summary["strongest"] == "convolution"
    assert {"rate-in another trunk-0.001", "in another trunk"} <= trainer.asked.keys()


def test_equal_opponents_are_trained_once() -> None:
    """A hybrid of one layer is a convolution."""
    trainer = Trainer({"best": 3.0, "bert": 3.9, "convolution": 3.5})
    models = MODELS | {"hybrid": MODELS["convolution"]}
    summary = compare_models(models, FINAL, 7, 8, 32, trainer, lambda name, model: SPEEDS[name])
    assert not [name for name in trainer.asked if "hybrid" in name]
    assert (summary["found_again"], summary["strongest"]) == ([], "convolution")
    assert summary["hybrid"] == summary["convolution"]


def test_a_winner_may_be_the_only_model() -> None:
    models = {"best": MODELS["best"], "bert": MODELS["best"]}
    summary = compare_models(models, FINAL, 7, 8, 32, Trainer(), lambda name, model: 1.0)
    assert (summary["found_again"], summary["strongest"], summary["equal_weights"]) == (["bert"], None, None)


def test_without_a_whole_opponent_there_is_no_strongest() -> None:
    summary = run(Trainer({"bert": None, "convolution": None}))
    assert summary["strongest"] is None
    assert summary["equal_weights"] is None


@pytest.mark.parametrize("share", [0.7, 0.9, 1.0, 1.5])
@pytest.mark.parametrize("kind", ["gelu", "geglu"])
def test_inner_width_brings_a_model_to_a_number_of_weights(share: float, kind: Any) -> None:
    sizes = EncoderConfig(vocab_size=100, width=64, heads=2, feed_forward_kind=kind, biases=False)
    model = Model(Backbone.parse("conv 9\nconv 7"), sizes)
    target = round(share * model.parameters)
    assert with_parameters(model, target).parameters == pytest.approx(target, rel=0.01)
    assert with_parameters(model, model.parameters) is model
