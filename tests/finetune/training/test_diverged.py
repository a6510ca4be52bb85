"""Trainings that diverge: they are reported, and the others go on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny

from autobert_zero.finetune.training import train
from autobert_zero.training.loop import Diverged

OPTIONS = ("--rates", "1e-3,1e-2", "--seeds", 2, "--batch-size", 16, "--set", "steps=2")


def finetune(model: Path, data: Path, out: Path, *more: object) -> tiny.Finished:
    given = ("finetune", "--model", model, "--task", "sst2", "--data", data, "--out", out)
    return tiny.command(*given, *OPTIONS, *more)


@pytest.fixture
def diverging(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes trainings diverge, by seed and rate."""
    real = train.tune

    def choose(*which: tuple[int, float]) -> None:
        def tune(*given: Any) -> Any:
            *_, seed, rate, _on_step = given
            if (seed, rate) in which:
                raise Diverged("the loss is nan at step 1")
            return real(*given)

        monkeypatch.setattr(train, "tune", tune)

    return choose


@pytest.mark.parametrize("keep", ["best", "all"])
def test_a_rate_that_diverges_does_not_end_the_sweep(
    model: Path, data: Path, tmp_path: Path, diverging: Callable[..., None], keep: str
) -> None:
    diverging((0, 1e-3))
    done = finetune(model, data, tmp_path, "--keep", keep)
    assert done.code == 0, done.err
    assert "sst2, seed 0, rate 0.001: diverged, the loss is nan at step 1" in done.log
    row = next(line for line in done.out.splitlines() if "diverged" in line)
    assert [cell.strip() for cell in row.split("|") if cell.strip()] == ["sst2", "diverged", "1", "0.001"]
    score = json.loads((tmp_path / "score.json").read_text())
    assert (score["rate"], score["seeds"]) == (1e-2, 2)
    assert score["diverged"] == [{"rate": 1e-3, "pooling": None, "seeds": 1}]
    assert (tmp_path / "model.safetensors").exists()
    # It is not tried again by the same call.
    diverging()
    again = finetune(model, data, tmp_path, "--keep", keep)
    assert again.out == done.out
    assert "diverged, " not in again.log


def test_a_seed_that_diverges_is_left_out_of_the_mean(
    model: Path, data: Path, tmp_path: Path, diverging: Callable[..., None]
) -> None:
    diverging((1, 1e-3), (1, 1e-2))
    done = finetune(model, data, tmp_path)
    assert done.code == 0, done.err
    score = json.loads((tmp_path / "score.json").read_text())
    assert (score["seeds"], score["diverged"][0]["seeds"]) == (1, 1)
    assert "diverged" in done.out


def test_it_is_an_error_if_all_diverge(
    model: Path, data: Path, tmp_path: Path, diverging: Callable[..., None]
) -> None:
    diverging((0, 1e-3), (0, 1e-2))
    done = finetune(model, data, tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "rate 0.001: the loss is nan at step 1; rate 0.01: the loss is nan" in done.err
    assert "choose a lower rate" in done.err
    assert (tmp_path / "diverged" / "model.safetensors").exists()
    diverging()
    assert finetune(model, data, tmp_path, "--rates", "1e-4").code == 0  # the same folder takes other rates


def test_other_tasks_go_on_if_all_rates_of_one_diverge(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = train.tune

    def tune(loaded: Any, problem: Any, *given: Any) -> Any:
        if problem.name == "sst2":
            raise Diverged("the loss is nan at step 1")
        return real(loaded, problem, *given)

    monkeypatch.setattr(train, "tune", tune)
    for name in ("sst2", "cola"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for path in data.iterdir():
            shutil.copy(path, tmp_path / "data" / name / path.name)
    given = ("glue", "--model", model, "--data", tmp_path / "data", "--tasks", "sst2,cola")
    done = tiny.command(*given, "--out", tmp_path / "out", *OPTIONS)
    assert done.code == 2
    assert "| cola |" in done.out
    assert done.err.splitlines()[-1].startswith("error: task sst2, seed 0: the training diverged (rate 0.001")
    assert (tmp_path / "out" / "cola" / "score.json").exists()
    assert "| cola |" in (tmp_path / "out" / "table.md").read_text()
