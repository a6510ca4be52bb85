"""The table of latencies: measured once, kept in a file."""

from pathlib import Path

import pytest
import torch

from autobert_zero.errors import UserError
from autobert_zero.nn import EncoderConfig
from autobert_zero.search_runs import latency
from autobert_zero.search_runs.latency import LatencyTable
from autobert_zero.space import Convolution

MODEL = EncoderConfig(vocab_size=1, width=8, heads=2)


def table(path: Path | None) -> LatencyTable:
    return LatencyTable(MODEL, 1, 16, torch.device("cpu"), "fp32", path)


def test_measures_milliseconds_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = table(tmp_path / "latencies.json")
    time = first(Convolution(3))
    assert 0 < time < 1000
    monkeypatch.setattr(latency, "measure_forward", lambda *_: pytest.fail("measured again"))
    assert first(Convolution(3)) == time
    assert table(tmp_path / "latencies.json")(Convolution(3)) == time


def test_keeps_nothing_without_a_file(tmp_path: Path) -> None:
    table(None)(Convolution(3))
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latencies.json"
    path.write_text("[1")
    with pytest.raises(UserError, match=r"latencies.json is damaged"):
        table(path)
