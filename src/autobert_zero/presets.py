"""Presets: functions that return a full config."""

from collections.abc import Callable

from autobert_zero.config import (
    DataConfig,
    FinalConfig,
    ModelConfig,
    ProxyConfig,
    SearchConfig,
    StrategyConfig,
)


def demo() -> SearchConfig:
    """What `make search` runs: the whole system in about eight minutes on two cores."""
    return SearchConfig(final=FinalConfig(short_share=0.5))


def small() -> SearchConfig:
    """About an hour on two cores; give it a corpus of tens of megabytes."""
    return SearchConfig(
        data=DataConfig(vocab_size=8192),
        strategy=StrategyConfig(population=20, parents=5),
        proxy=ProxyConfig(
            candidates=55,
            warmup_steps=800,
            steps=80,
            validation_sequences=384,
        ),
        final=FinalConfig(finalists=4, screening_steps=1600, steps=14_800, short_share=0.25),
    )


def paper() -> SearchConfig:
    """The paper's settings, for GPUs: 12 layers of width 768, M = 100, K = 5, 760 candidates."""
    return SearchConfig(
        data=DataConfig(vocab_size=30522),
        model=ModelConfig(layers=12, width=768, heads=12, dropout=0.1),
        strategy=StrategyConfig(name="op-nas-paper", population=100, parents=5, children=4, alpha=0.5),
        proxy=ProxyConfig(
            candidates=760,
            warmup_steps=20_000,
            warmup_attention_share=0.5,
            steps=1_000,
            batch_size=256,
            learning_rate=1e-4,
            validation_sequences=4_096,
        ),
        final=FinalConfig(
            finalists=8, screening_steps=20_000, steps=200_000, batch_size=256, learning_rate=1e-4
        ),
    )


PRESETS: dict[str, Callable[[], SearchConfig]] = {"demo": demo, "small": small, "paper": paper}
