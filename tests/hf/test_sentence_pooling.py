"""The pooling that a folder sets for sentence-transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from autobert_zero.errors import UserError
from autobert_zero.hf.sentence_pooling import SentencePooling, sentence_pooling

STATES = torch.tensor([[[9.0, 9.0], [3.0, 0.0], [5.0, 8.0]], [[3.0, 4.0], [1.0, 0.0], [9.0, 9.0]]])
"""Two texts; the first is padded on the left, the second on the right."""
MASK = torch.tensor([[False, True, True], [True, True, False]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (SentencePooling(), [[4.0, 4.0], [2.0, 2.0]]),
        (SentencePooling("cls"), [[3.0, 0.0], [3.0, 4.0]]),
        (SentencePooling("cls", normalised=True), [[1.0, 0.0], [0.6, 0.8]]),
        (SentencePooling("mean", normalised=True), [[0.5**0.5, 0.5**0.5]] * 2),
    ],
    ids=str,
)
def test_vectors(pooling: SentencePooling, expected: list[list[float]]) -> None:
    torch.testing.assert_close(pooling(STATES, MASK), torch.tensor(expected))


def folder(path: Path, settings: Any, *kinds: str) -> str:
    """A folder with the settings of a pooling, and with these modules if some are named."""
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    if kinds:
        modules = [{"path": f"{number}_{kind}", "type": f"st.{kind}"} for number, kind in enumerate(kinds)]
        (path / "modules.json").write_text(json.dumps(modules))
    return str(path)


MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


@pytest.mark.parametrize(
    ("settings", "kinds", "expected"),
    [
        (MEAN, (), SentencePooling("mean")),
        ({"pooling_mode_cls_token": True}, ("Transformer", "Pooling"), SentencePooling("cls")),
        ({"pooling_mode": "cls"}, ("Transformer", "Pooling", "Normalize"), SentencePooling("cls", True)),
    ],
)
def test_settings(tmp_path: Path, settings: Any, kinds: tuple[str, ...], expected: SentencePooling) -> None:
    assert sentence_pooling(folder(tmp_path, settings, *kinds)) == expected


def test_a_folder_without_settings_has_the_mean(tmp_path: Path) -> None:
    assert sentence_pooling(str(tmp_path)) == SentencePooling("mean", normalised=False)


@pytest.mark.parametrize(
    ("settings", "kinds", "message"),
    [
        ({"pooling_mode": "max"}, (), "pools by max; only cls or mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, (), "pools by cls, mean"),
        ({}, (), r"1_Pooling.config.json is damaged \('pooling_mode'\)"),
        ([], (), r"1_Pooling.config.json is damaged"),
        (MEAN, ("Transformer", "Pooling", "Dense"), "with a module Dense"),
    ],
)
def test_settings_that_cannot_be_followed(
    tmp_path: Path, settings: Any, kinds: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        sentence_pooling(folder(tmp_path, settings, *kinds))


@pytest.mark.parametrize("content", ["{", "[1]", '[{"type": "Pooling"}]', '{"a": 1}'])
def test_damaged_modules(tmp_path: Path, content: str) -> None:
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(UserError, match=r"modules.json is damaged"):
        sentence_pooling(str(tmp_path))
