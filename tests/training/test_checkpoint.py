"""Checkpoints: whole or not at all, and nothing is left of half of one."""

import stat
from pathlib import Path

import pytest
import torch
from torch import nn

from autobert_zero.training import checkpoint as module
from autobert_zero.training.checkpoint import (
    CheckpointError,
    checkpoints,
    newest_checkpoint,
    restore,
    save_checkpoint,
)


def trained(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A small model and an optimiser that has a past."""
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_saved_and_restored(tmp_path: Path) -> None:
    model, optimizer = trained()
    save_checkpoint(tmp_path, 3, model, optimizer, {"seconds": 1.5})
    found = newest_checkpoint(tmp_path, print)
    assert found is not None
    assert (found.step, found.about) == (3, {"seconds": 1.5})
    other, others = trained(seed=1)
    restore(found, other, others)
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    for one, two in zip(optimizer.state.values(), others.state.values(), strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_two_are_kept_and_half_written_ones_are_removed(tmp_path: Path) -> None:
    half = tmp_path / "00000001.partial"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    for step in (2, 4, 6):
        save_checkpoint(tmp_path, step, *trained(), {})
    assert {path.name for path in tmp_path.iterdir()} == {"00000004", "00000006"}
    assert [path.name for path in checkpoints(tmp_path)] == ["00000006", "00000004"]


def test_the_rights_are_those_of_any_new_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, *trained(), {})
    (tmp_path / "plain").touch()
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "00000001").iterdir()} == {usual}


def test_a_checkpoint_without_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process gets it that is not the first of those that hold the parts of a model."""
    save_checkpoint(tmp_path, 1, *trained(), {})
    monkeypatch.setattr(module, "get_model_state_dict", lambda *given, **options: {})
    with pytest.raises(CheckpointError, match="step 2 would hold no weights"):
        save_checkpoint(tmp_path, 2, *trained(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]
