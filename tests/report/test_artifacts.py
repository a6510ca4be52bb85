"""Pictures of the best candidates in the Optuna study."""

from pathlib import Path

import optuna
import pytest
import tiny
from optuna.artifacts import get_all_artifact_meta

from autobert_zero.report.artifacts import attach_pictures
from autobert_zero.report.draw import svg
from autobert_zero.search.history import STUDY, History, HistoryError
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone

SCORES = (-5.0, None, -3.0, -4.0)
BACKBONES = [Backbone.parse(f"conv {kernel}\nQ + K") for kernel in (3, 5, 7, 9)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    history = History(f"sqlite:///{tmp_path / 'study.db'}")
    for number, score in enumerate(SCORES):
        status = Status.FAILED if score is None else Status.COMPLETE
        history.append(Trial(Proposal(number, BACKBONES[number]), Outcome(status, score)))
    return tmp_path


def pictures(run: Path) -> dict[str, str]:
    study = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{run / 'study.db'}")
    metas = get_all_artifact_meta(study)
    assert {meta.mimetype for meta in metas} == {"image/svg+xml"}
    return {meta.filename: (run / "artifacts" / meta.artifact_id).read_text("utf-8") for meta in metas}


def test_the_best_are_attached_once(run: Path) -> None:
    before = History(f"sqlite:///{run / 'study.db'}").load()
    assert attach_pictures(run, 2) == 2
    assert pictures(run) == {"candidate-2.svg": svg(BACKBONES[2]), "candidate-3.svg": svg(BACKBONES[3])}
    assert attach_pictures(run, 2) == 0
    done = tiny.command("draw", run, "--artifacts", 10)
    assert done.code == 0
    assert done.out == (
        f"new pictures: 1; see them with: optuna-dashboard sqlite:///{run / 'study.db'} "
        f"--artifact-dir {run / 'artifacts'}\n"
    )
    assert set(pictures(run)) == {"candidate-0.svg", "candidate-2.svg", "candidate-3.svg"}
    assert History(f"sqlite:///{run / 'study.db'}").load() == before


def test_a_damaged_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("nothing of the kind")
    with pytest.raises(HistoryError, match="cannot be reached or read"):
        attach_pictures(tmp_path, 3)
