"""Presets: functions that return a full config for a backbone."""

from collections.abc import Callable

from autobert_zero.pretrain.config import (
    PhaseConfig,
    PretrainConfig,
    PretrainDataConfig,
    PretrainModelConfig,
    RecipeConfig,
    ReportConfig,
)
from autobert_zero.space import Backbone


def demo_pretraining(backbone: Backbone) -> PretrainConfig:
    """A few minutes on two cores, on the embedded corpus."""
    return PretrainConfig(
        backbone=tuple(backbone.to_list()),
        data=PretrainDataConfig(vocab_size=4096),
        phases=(PhaseConfig(steps=2000),),
        report=ReportConfig(evaluate_every=500, checkpoint_every=500),
    )


def small_pretraining(backbone: Backbone) -> PretrainConfig:
    """30 M tokens at width 64: about half an hour on one core; give it tens of megabytes of text.

    The first 4 M are in short sequences, without which attention alone stays on the plateau of unigram
    statistics.
    """
    return PretrainConfig(
        backbone=tuple(backbone.to_list()),
        phases=(PhaseConfig(steps=2000, length=16, batch_size=128), PhaseConfig(steps=12_800)),
    )


def base_pretraining(backbone: Backbone) -> PretrainConfig:
    """BERT-base's recipe, for GPUs: width 768, nine tenths of the steps at 128 tokens and the rest at 512."""
    return PretrainConfig(
        backbone=tuple(backbone.to_list()),
        data=PretrainDataConfig(vocab_size=30522, next_sentence=True),
        model=PretrainModelConfig(width=768, heads=12, dropout=0.1),
        phases=(
            PhaseConfig(steps=900_000, length=128, batch_size=256),
            PhaseConfig(steps=100_000, length=512, batch_size=256),
        ),
        recipe=RecipeConfig(learning_rate=1e-4, warmup=0.01),
        report=ReportConfig(evaluate_every=10_000, checkpoint_every=5_000),
    )


PRETRAIN_PRESETS: dict[str, Callable[[Backbone], PretrainConfig]] = {
    "demo": demo_pretraining,
    "small": small_pretraining,
    "base": base_pretraining,
}

SIZED = frozenset(["base"])
"""Presets with sizes and a vocabulary of their own, which replace those of a run."""
