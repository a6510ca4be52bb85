"""A step waits once in ten, and launches no more than it does now."""

from types import ModuleType

import pytest

LAUNCHES = {"bert": 133, "hybrid": 149, "autobert_zero": 158, "convolutions": 165, "bert_isolated": 201}


def test_it_counts_what_a_step_launches(fake_accelerator: ModuleType) -> None:
    import step_waits

    backbone, masking = step_waits.cases(2)["bert"]
    found = step_waits.count(backbone, step_waits.TINY, masking)
    assert found.waits <= 0.1
    assert found.launches <= LAUNCHES["bert"]
    assert found.operations["mm"] >= 18  # three products of each of the nine matrices, some with their bias


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNCHES)
def test_no_model_waits(fake_accelerator: ModuleType, name: str) -> None:
    import step_waits

    backbone, masking = step_waits.cases(2)[name]
    found = step_waits.count(backbone, step_waits.TINY, masking)
    assert found.waits <= 0.1
    assert found.launches <= LAUNCHES[name]
