"""How long a fine-tuning trains, and when it is evaluated."""

import pytest

from autobert_zero.finetune.config import FinetuneConfig


@pytest.mark.parametrize(
    ("settings", "examples", "updates", "interval"),
    [
        ({}, 320_000, 30_000, 10_000),  # three epochs are enough
        ({}, 3200, 1000, 100),  # 100 updates an epoch: ten epochs
        ({}, 320, 1000, 100),  # epochs of ten updates are not evaluated one by one
        ({}, 8000, 1000, 250),  # an evaluation an epoch
        ({}, 1, 1000, 100),
        ({"evaluations": 2}, 320, 1000, 50),
        ({"epochs": 3}, 320, 30, 10),  # who names the epochs gets them
        ({"epochs": 30}, 320, 300, 10),
        ({"epochs": 3, "min_updates": 200}, 320, 200, 20),
        ({"min_updates": 0}, 320, 30, 10),
        ({"min_updates": 5000}, 320_000, 30_000, 10_000),
        ({"steps": 7}, 320, 7, 10),
        ({"steps": 7, "min_updates": 200}, 320, 7, 10),
        ({"batch_size": 8}, 320, 1000, 100),
    ],
)
def test_updates_and_the_interval_of_evaluations(
    settings: dict[str, int], examples: int, updates: int, interval: int
) -> None:
    made = FinetuneConfig(**settings)
    assert (made.updates(examples), made.interval(examples)) == (updates, interval)
    again = made.resolved()
    assert (again.updates(examples), again.interval(examples)) == (updates, interval)
    assert again.epochs is not None
    assert again.min_updates is not None
