"""A training with decay branches: continued bit by bit, and repeated where a file is missing or damaged."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny

from autobert_zero.errors import UserError
from autobert_zero.nn import MaskedLM
from autobert_zero.progress import Bars, log_console
from autobert_zero.search_runs.prepare import prepare
from autobert_zero.space import Backbone


@pytest.fixture(scope="module")
def prepared(corpus_file: Path) -> Any:
    return prepare(tiny.modern(corpus_file))


@pytest.fixture
def measurements(prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from result_store import ResultStore
    from truth import branched_training
    from truth.evaluation import Setup

    monkeypatch.setattr(branched_training, "CHECKPOINT_EVERY", 4)
    setup = Setup(prepared.data, prepared.vocabulary, "cpu", "fp32", 4, 8)
    backbones = {"conv": "conv 3\nconv 5", "gated": "P * (previous(Q) + K + next(V))\nconv 3"}

    def measure(marks: tuple[int, ...], folder: str = "out", workers: int = 1) -> dict[str, Any]:
        store = ResultStore(tmp_path / folder, {"text": "made up"})
        trainings = [
            branched_training.BranchedTraining(
                name, partial(MaskedLM, Backbone.parse(text), prepared.model), {}, 0, 1e-3, marks
            )
            for name, text in backbones.items()
        ]
        with Bars(log_console()) as progress:
            results = branched_training.train_all(trainings, setup, store, workers, progress)
        return {
            name: {mark: _untimed(measured) for mark, measured in row.items()}
            for name, row in results.items()
        }

    return measure


def _untimed(measured: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in measured.items() if not name.startswith("seconds")}


def test_a_training_goes_on_to_a_later_mark(measurements: Any, tmp_path: Path) -> None:
    whole = measurements((6, 14))
    assert measurements((6,), "parts") == {name: {6: row[6]} for name, row in whole.items()}
    assert measurements((6, 14), "parts") == whole
    # A mark's branch leaves the training as it is: without the first one the second is the same.
    assert measurements((14,), "direct") == {name: {14: row[14]} for name, row in whole.items()}
    assert whole["conv"][6]["tokens"] == 6 * 4 * 16
    assert whole["conv"][14]["val_loss"] != whole["conv"][6]["val_loss"]
    assert len(whole["gated"][14]["uniformity"]) == 3


def test_only_what_is_missing_or_damaged_is_trained_again(
    measurements: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from truth import branched_training

    whole = measurements((6, 14))
    trained: list[str] = []

    def watched(training: Any, mark: int, *rest: Any) -> Any:
        trained.append(f"{training.name} {mark}")
        return train_to_mark(training, mark, *rest)

    train_to_mark = branched_training.train_to_mark
    monkeypatch.setattr(branched_training, "train_to_mark", watched)
    assert measurements((6, 14)) == whole
    assert trained == []
    result = tmp_path / "out" / "conv.json"
    result.write_text(result.read_text()[:40])
    assert measurements((6, 14)) == whole
    assert trained == ["conv 6", "conv 14"]
    trained.clear()
    (tmp_path / "out" / "gated.json").unlink()
    (tmp_path / "out" / "checkpoints" / "gated.safetensors").write_bytes(b"half")
    assert measurements((6, 14)) == whole
    assert trained == ["gated 6", "gated 14"]


@pytest.mark.slow
def test_workers_change_nothing(measurements: Any) -> None:
    assert measurements((6, 12), "two", workers=2) == measurements((6, 12), "one")


def test_a_folder_of_other_data_trunk_or_versions_is_refused_by_name(
    prepared: Any, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from truth import table

    def open_with(search: Any) -> None:
        table.Table("horizon", search, tmp_path, None)

    open_with(prepared)
    open_with(prepared)
    with pytest.raises(UserError, match="results of norm pre, not post"):
        open_with(prepare(tiny.modern(corpus_file, model={"norm": "post"})))
    other = replace(prepared, corpus=replace(prepared.corpus, identity="other"))
    with pytest.raises(UserError, match=f"results of text {prepared.corpus.identity}, not other"):
        open_with(other)
    monkeypatch.setattr(table, "versions", lambda: dict.fromkeys(table.VERSIONS, "0.1"))
    with pytest.raises(UserError, match=r"torch \S+, not 0.1"):
        open_with(prepared)
