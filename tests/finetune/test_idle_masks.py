"""A batch without padding has no mask on a GPU, where attention without one has faster kernels."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from autobert_zero.finetune.features import FeatureBatch, task_objective, without_idle_mask

CARD, CPU = torch.device("cuda"), torch.device("cpu")


def inputs(padded: bool) -> dict[str, torch.Tensor]:
    mask = torch.ones(2, 3, dtype=torch.long)
    mask[1, 2] = not padded
    return {"input_ids": torch.zeros(2, 3, dtype=torch.long), "attention_mask": mask}


@pytest.mark.parametrize(
    ("padded", "device", "kept"),
    [(False, CARD, False), (True, CARD, True), (False, CPU, True), (True, CPU, True)],
)
def test_which_masks_are_kept(padded: bool, device: torch.device, kept: bool) -> None:
    assert ("attention_mask" in without_idle_mask(inputs(padded), device)) is kept


def test_inputs_without_a_mask_are_left_alone() -> None:
    assert without_idle_mask({"pixels": torch.zeros(1)}, CARD).keys() == {"pixels"}


@pytest.mark.parametrize(("padded", "device"), [(False, "meta"), (True, "meta"), (False, "cpu")])
def test_training_hands_the_model_what_is_kept(padded: bool, device: str) -> None:
    names: set[str] = set()

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1, device=device))

        def forward(self, **given: Any) -> Any:
            names.update(given)
            return SimpleNamespace(loss=self.weight.sum())

    batch = FeatureBatch(inputs(padded), {"labels": torch.zeros(2)})
    task_objective("fp32")(Model(), batch, batch)
    assert names == {*without_idle_mask(inputs(padded), torch.device(device)), "labels"}
    assert ("attention_mask" in names) is (padded or device == "cpu")
