"""Modules are called, never passed by: hooks fire on all of them, and offloaded weights compute the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from hf_samples import MIXED, batch, config, randomise
from torch import nn

from autobert_zero.hf import (
    AutoBertZeroForMaskedLM,
    AutoBertZeroForMultipleChoice,
    AutoBertZeroForSequenceClassification,
    AutoBertZeroPreTrainedModel,
)
from autobert_zero.hf.auto import MODELS
from autobert_zero.nn import Encoder
from autobert_zero.nn.documents import layout
from autobert_zero.space import Backbone

KINDS = list(MODELS.values())


def _never_called(module: nn.Module, call: Callable[[], object]) -> set[str]:
    """Names of the modules with weights that a call passes by."""
    silent = {name for name, part in module.named_modules() if list(part.parameters(recurse=False))}
    hooks = [
        part.register_forward_hook(lambda *_, name=name: silent.discard(name))
        for name, part in module.named_modules()
    ]
    call()
    for hook in hooks:
        hook.remove()
    return silent


def _inputs(kind: type[AutoBertZeroPreTrainedModel]) -> dict[str, torch.Tensor]:
    inputs = batch()
    if kind is AutoBertZeroForMultipleChoice:
        inputs = {name: tensor[:, None].expand(-1, 2, -1) for name, tensor in inputs.items()}
    return inputs


@torch.no_grad()
@pytest.mark.parametrize("case", ["plain", "mask", "segments and positions", "rows", "documents"])
def test_every_module_of_the_encoder_is_called(case: str) -> None:
    encoder = Encoder(Backbone.from_list([*MIXED, "conv 3"]), config().encoder_config())
    ids = batch()["input_ids"]
    starts = torch.zeros_like(ids, dtype=torch.bool)
    starts[:, [0, 5]] = True
    cases: dict[str, dict[str, Any]] = {
        "plain": {},
        "mask": {"mask": batch()["attention_mask"].bool()},
        "segments and positions": {
            "segments": torch.ones_like(ids),
            "positions": torch.zeros_like(ids),
        },
        "rows": {"rows": torch.tensor([1, 4, 30])},
        "documents": {"documents": layout(starts)[1]},
    }
    assert not _never_called(encoder, lambda: encoder(ids, **cases[case]))


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_maps", [False, True])
def test_every_module_of_a_model_is_called(kind: type[AutoBertZeroPreTrainedModel], with_maps: bool) -> None:
    model = randomise(kind(config()))
    assert not _never_called(model, lambda: model(**_inputs(kind), output_attentions=with_maps))


@torch.no_grad()
@pytest.mark.parametrize("name", ["encoder.layers.1.attention", "encoder.layers.0.convolution"])
def test_what_a_hook_returns_takes_the_place_of_the_output(name: str) -> None:
    model = randomise(AutoBertZeroForMaskedLM(config()))
    before = model(**batch()).logits
    model.get_submodule(name).register_forward_hook(lambda module, args, output: output * 2)
    assert not torch.allclose(model(**batch()).logits, before)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["memory", "disk"])
def test_offloaded_weights_compute_the_same(
    kind: type[AutoBertZeroPreTrainedModel], place: str, tmp_path: Path
) -> None:
    model = randomise(kind(config()))
    expected = model(**_inputs(kind)).to_tuple()
    if place == "memory":
        accelerate.cpu_offload(model, execution_device="cpu")
    else:
        accelerate.disk_offload(model, tmp_path, execution_device="cpu")
    for _ in range(2):
        got = model(**_inputs(kind)).to_tuple()
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(got, expected, strict=True))


@torch.no_grad()
def test_a_device_map_with_layers_on_the_disk(tmp_path: Path) -> None:
    model = randomise(AutoBertZeroForSequenceClassification(config()))
    expected = model(**batch()).logits
    model.save_pretrained(tmp_path / "model")
    places = {"encoder.embeddings": "cpu", "encoder.layers": "disk", "encoder.pooler": "disk"}
    loaded = AutoBertZeroForSequenceClassification.from_pretrained(
        tmp_path / "model",
        device_map=places | {"classifier": "cpu", "dropout": "cpu"},
        offload_folder=tmp_path / "offloaded",
    )
    assert next(loaded.encoder.layers.parameters()).is_meta
    assert torch.equal(loaded(**batch()).logits, expected)
