"""Pictures of the best candidates in the Optuna study."""

from pathlib import Path

import optuna
import pytest
import tiny
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta

from autobert_zero.report.artifacts import attach_pictures
from autobert_zero.report.draw import svg
from autobert_zero.search.history import STUDY, History
from autobert_zero.search.optuna_trials import HistoryError
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone

SCORES = (-5.0, None, -3.0, -4.0)
BACKBONES = [Backbone.parse(f"conv {kernel}\nQ + K").canonical() for kernel in (3, 5, 7, 9)]


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
    with pytest.raises(HistoryError, match=r"cannot be read: .*file is not a database"):
        attach_pictures(tmp_path, 3)


def test_a_picture_that_a_kill_kept_from_its_folder_comes_with_the_next_call(run: Path) -> None:
    """Optuna notes an artifact in the study before it writes the file."""
    real = FileSystemArtifactStore.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            FileSystemArtifactStore, "write", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            attach_pictures(run, 2)
    assert FileSystemArtifactStore.write is real
    assert attach_pictures(run, 2) == 2
    assert pictures(run) == {"candidate-2.svg": svg(BACKBONES[2]), "candidate-3.svg": svg(BACKBONES[3])}


def test_nothing_is_created_where_there_is_no_study(tmp_path: Path) -> None:
    """Neither a database nor a study: in the folder, in SQLite's file of a team, in a journal."""
    out = tmp_path / "run"
    out.mkdir()
    for storage in ("null", f"sqlite:///{tmp_path}/team.db", f"journal:///{tmp_path}/team.log"):
        (out / "config.yaml").write_text(f"storage: {storage}\n")
        for command in (("draw", out, "--artifacts", 3), ("report", out, "-o", tmp_path / "report.html")):
            done = tiny.command(*command)
            assert "Traceback" not in done.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.yaml", "report.html", "run"]


def test_the_report_shows_no_password(run: Path) -> None:
    (run / "config.yaml").write_text("storage: postgresql://me:se/cret:x@127.0.0.1:1/db?sslpassword=other\n")
    page = run / "report.html"
    done = tiny.command("report", run, "-o", page)
    assert done.code == 0, done.err
    text = page.read_text() + done.out + done.err
    assert "postgresql://me:***@127.0.0.1:1/db?sslpassword=***" in page.read_text()
    assert not [secret for secret in ("se/cret", "cret:x", "sslpassword=other") if secret in text]
