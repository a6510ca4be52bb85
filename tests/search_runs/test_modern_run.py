"""A whole search of the modern space: what it begins with, what it is compared with, and what is reported."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from rich.console import Console

from autobert_zero.export.sources import open_source
from autobert_zero.search.history import History
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.trial import Trial
from autobert_zero.search_runs.run import run_search
from autobert_zero.zoo import opponents


@pytest.fixture(scope="module")
def run(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("modern") / "run"
    with RunProgress(Console(quiet=True)) as progress:
        run_search(tiny.modern(corpus_file), out, progress)
    return out


@pytest.fixture(scope="module")
def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


@pytest.fixture(scope="module")
def trials(run: Path) -> list[Trial]:
    return History(f"sqlite:///{run / 'study.db'}").load()


def test_it_begins_with_the_known_backbones(trials: list[Trial], corpus_file: Path) -> None:
    space = tiny.modern(corpus_file).bounds
    first = [trial.proposal for trial in trials[: len(space.known)]]
    assert [each.mutations for each in first] == [(f"known: {name}",) for name, _ in space.known]
    assert [each.backbone for each in first] == [backbone.canonical() for _, backbone in space.known]
    assert all(each.given for each in first)
    assert not any(trial.proposal.given for trial in trials[len(first) :])


def test_each_opponent_is_trained_at_its_rate_and_at_equal_time(
    summary: dict[str, Any], corpus_file: Path
) -> None:
    space = tiny.modern(corpus_file).bounds
    for name in ("best", *opponents(space)):
        row = summary[name]
        assert row["learning_rate"] in (1e-3, 1e-2)
        assert min(row["val_loss"], row["val_loss_equal_time"], row["tokens_per_second"]) > 0
        assert row["parameters"] > 0
    losses = {name: summary[name]["val_loss"] for name in opponents(space)}
    assert summary["strongest"] == min(losses, key=losses.__getitem__)
    assert summary["equal_weights"]["opponent"] == summary["strongest"]
    assert summary["equal_weights"]["parameters"] == pytest.approx(summary["best"]["parameters"], rel=0.02)


def test_a_given_backbone_is_among_the_finalists(summary: dict[str, Any], trials: list[Trial]) -> None:
    assert any(trials[row["trial"]].proposal.given for row in summary["screening"])


def test_the_winner_is_a_model_of_any_length(run: Path) -> None:
    source = open_source(run)
    assert source.model.config.positions == "none"
    assert source.tokenizer is not None
    assert source.tokenizer.model_max_length > 1e6
    long = source.tokenizer("ab cd " * 200, return_tensors="pt")
    assert long["input_ids"].shape[1] > 64
    assert source.model(**long).logits.isfinite().all()
