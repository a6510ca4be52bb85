"""Presets: functions that return a full config."""

from collections.abc import Callable

from autobert_zero.search.config import (
    SearchConfig,
    SearchDataConfig,
    SearchModelConfig,
    SpaceConfig,
    StrategyConfig,
)
from autobert_zero.search.training_config import FinalConfig, ProxyConfig
from autobert_zero.zoo.trunks import MODERN_TRUNK

_MODERN_SPACE = SpaceConfig(primitives="modern")


def demo() -> SearchConfig:
    """The preset of `make search`: the whole system in about ten minutes on two cores."""
    return SearchConfig(
        model=SearchModelConfig(**MODERN_TRUNK),
        space=_MODERN_SPACE,
        strategy=StrategyConfig(known=True, population=10),
        proxy=ProxyConfig(
            sharing="none",
            candidates=24,
            steps=180,
            rungs=(0.5,),
            batch_size=16,
            learning_rate=3e-3,
            together=4,
        ),
        final=FinalConfig(
            finalists=3,
            screening_steps=180,  # after 110, half of the known backbones are on the plateau
            steps=270,
            learning_rate=4e-3,  # one of the rates, so that it is not tried again
            rates=(2e-3, 4e-3, 8e-3),
        ),
    )


def small() -> SearchConfig:
    """Two to three hours on two cores, for a corpus of tens of megabytes."""
    return SearchConfig(
        data=SearchDataConfig(vocab_size=8192),
        model=SearchModelConfig(**MODERN_TRUNK),
        space=_MODERN_SPACE,
        strategy=StrategyConfig(known=True, population=20, parents=5),
        proxy=ProxyConfig(
            sharing="none",
            candidates=60,
            steps=880,
            rungs=(0.125, 0.25, 0.5),
            batch_size=16,
            learning_rate=3e-3,
            validation_sequences=384,
            together=5,
        ),
        final=FinalConfig(screening_steps=880, steps=4_400, rates=(2e-3, 4e-3, 8e-3)),
    )


def paper() -> SearchConfig:
    """The paper's settings, for GPUs: its space and BERT's trunk, 12 layers of width 768, M = 100, K = 5.

    760 candidates train 40,000 steps each and are scored by fine-tuning on GLUE.
    """
    return SearchConfig(
        data=SearchDataConfig(vocab_size=30522),
        model=SearchModelConfig(layers=12, width=768, heads=12, dropout=0.1),
        strategy=StrategyConfig(name="op-nas-paper", population=100, parents=5, children=4, alpha=0.5),
        proxy=ProxyConfig(
            candidates=760,
            warmup_steps=20_000,
            warmup_attention_share=0.5,
            calibration=0.0,
            train_again=0,
            score="tasks",
            steps=40_000,
            batch_size=256,
            learning_rate=1e-4,
            validation_sequences=4_096,
        ),
        final=FinalConfig(
            finalists=8, screening_steps=20_000, steps=200_000, batch_size=256, learning_rate=1e-4
        ),
    )


PRESETS: dict[str, Callable[[], SearchConfig]] = {"demo": demo, "small": small, "paper": paper}
