"""The logs of a search for TensorBoard."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from autobert_zero.search import board
from autobert_zero.search.board import Board, open_board
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone

BACKBONE = Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V").canonical()
OUTCOMES = [
    Outcome(Status.COMPLETE, -5.0, metrics={"val_loss": 5.5}, seconds=2.0),
    Outcome(Status.DIVERGED, reason="loss is nan", seconds=1.0),
    Outcome(Status.COMPLETE, -4.0, metrics={"val_loss": 4.5}, seconds=2.5),
    Outcome(Status.COMPLETE, -4.5, metrics={"val_loss": 4.75}, seconds=2.5),
    Outcome(Status.FAILED, reason="out of memory"),
]
TRIALS = [
    Trial(Proposal(number, BACKBONE, number // 2), outcome, {0: -6.0, 2: -5.0} if number == 3 else {})
    for number, outcome in enumerate(OUTCOMES)
]


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_figure_is_at_its_candidate(tmp_path: Path) -> None:
    log = Board(tmp_path)
    for trial in TRIALS:
        log.write(trial)
    log.close()
    found = curves(tmp_path)
    assert found == {
        "score": [(0, -5.0), (2, -4.0), (3, -4.5)],
        "best": [(0, -5.0), (2, -4.0), (3, -4.0)],
        "rescored": [(3, -5.5)],
        "seconds": [(0, 2.0), (1, 1.0), (2, 2.5), (3, 2.5), (4, 0.0)],
        "round": [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0), (4, 2.0)],
        "count/complete": [(0, 1), (1, 1), (2, 2), (3, 3), (4, 3)],
        "count/pruned": [(step, 0) for step in range(5)],
        "count/failed": [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1)],
        "count/diverged": [(0, 0), (1, 1), (2, 1), (3, 1), (4, 1)],
        "metrics/val_loss": [(0, 5.5), (2, 4.5), (3, 4.75)],
    }


def test_the_final_comparison_has_curves(tmp_path: Path) -> None:
    log = Board(tmp_path)
    log.write_final("bert", [[2, 6.0], [4, 5.0]], 5.5)
    log.write_final("hybrid", ((2, 7.0),), None)
    log.write_final("of an earlier version", (), 5.0)
    log.close()
    assert curves(tmp_path) == {
        "final/bert/training_loss": [(2, 6.0), (4, 5.0)],
        "final/bert/held_out_loss": [(4, 5.5)],
        "final/hybrid/training_loss": [(2, 7.0)],
    }


def test_a_resumed_run_has_the_curves_of_a_whole_one(tmp_path: Path) -> None:
    """The killed one had logged a candidate that its history had not, and which came out otherwise again."""
    lost = Trial(TRIALS[2].proposal, Outcome(Status.COMPLETE, -1.0, metrics={"other": 1.0}))
    for folder, logged in (("whole", TRIALS), ("resumed", [*TRIALS[:2], lost]), ("resumed", TRIALS)):
        log = Board(tmp_path / folder)
        for trial in logged:
            log.write(trial)
        log.close()
    assert curves(tmp_path / "resumed") == curves(tmp_path / "whole")


def test_there_are_no_logs_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "find_spec", lambda name: None)
    assert open_board(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
