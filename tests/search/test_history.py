"""The history: exact, in order, and an ordinary Optuna study."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from autobert_zero.search.config import SpaceConfig
from autobert_zero.search.history import STUDY, History, read_trials
from autobert_zero.search.optuna_trials import HistoryError
from autobert_zero.search.ranking import ranked
from autobert_zero.search.storage import StorageError
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import PAPER, Backbone

ATTENTION = Backbone.parse("softmax(scale(Q @ K.T)) @ V\nconv 65").canonical()
CONVOLUTION = Backbone.parse("conv 3\nconv 9").canonical()

TRIALS = [
    Trial(
        Proposal(0, ATTENTION, 0, None, ("given by the user",)),
        Outcome(Status.COMPLETE, 0.1 + 0.2, metrics={"val_loss": 1 / 3, "mlm_accuracy": 0.0}, seconds=1e-9),
    ),
    Trial(Proposal(1, CONVOLUTION), Outcome(Status.DIVERGED, reason="loss is nan at step 3", seconds=2.5)),
    Trial(
        Proposal(2, ATTENTION, 1, 0), Outcome(Status.FAILED, reason='out of memory: "größer"\nsecond line')
    ),
    Trial(
        Proposal(3, CONVOLUTION, 1, 0, ("layer 1: conv 5 -> conv 3", "layer 2, insert: a -> b"), 2, 71),
        Outcome(Status.COMPLETE, -5.000000000000001),
        {0: -1e9, 2: 1e-300},
    ),
]


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "study.db"
    history = History(f"sqlite:///{file}")
    for trial in TRIALS:
        history.append(trial)
    return file


@pytest.fixture
def written(template: Path, tmp_path: Path, storage: str) -> str:
    """A study with the trials above."""
    shutil.copy(template, tmp_path / "study.db")
    return storage


def test_round_trip_is_exact(written: str) -> None:
    history = History(written)
    assert len(history) == 4
    assert history.load() == TRIALS


def test_reading_alone_gives_the_same_and_writes_nothing(template: Path, tmp_path: Path) -> None:
    file = tmp_path / "a study? 100%#1.db"
    shutil.copy(template, file)
    before = file.read_bytes()
    assert read_trials(file) == TRIALS
    assert file.read_bytes() == before
    with pytest.raises(HistoryError, match="cannot be read"):
        read_trials(tmp_path / "none.db")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_goes_on_where_it_ended(written: str) -> None:
    following = Trial(Proposal(4, ATTENTION), Outcome(Status.COMPLETE, 0.0))
    History(written).append(following)
    assert History(written).load() == [*TRIALS, following]


@pytest.mark.parametrize("number", [0, 3, 5])
def test_order_is_enforced(written: str, number: int) -> None:
    history = History(written)
    with pytest.raises(ValueError, match=f"trial {number} follows trial 3: one is missing"):
        history.append(Trial(Proposal(number, ATTENTION), Outcome(Status.COMPLETE, 0.0)))
    assert history.load() == TRIALS


def test_optuna_opens_it_as_it_is(written: str) -> None:
    study = optuna.load_study(study_name=None, storage=written)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    assert study.best_value == 0.1 + 0.2
    assert study.best_params == {"layer 01": "attention", "layer 02": "conv 65"}
    assert study.trials[1].params == {"layer 01": "conv 3", "layer 02": "conv 9"}
    assert study.trials[1].user_attrs["reason"] == "loss is nan at step 3"
    assert study.trials[1].user_attrs["status"] == "diverged"
    assert study.trials[3].user_attrs["backbone"] == ["conv 3", "conv 9"]
    assert study.trials[3].user_attrs["rescored"] == {"0": -1e9, "2": 1e-300}
    assert all(trial.datetime_start and trial.datetime_complete for trial in study.trials)


def test_optunas_tools_plot_times_and_metrics(written: str) -> None:
    History(written, identity={})
    study = optuna.load_study(study_name=STUDY, storage=written)
    assert study.metric_names == ["score"]
    times = [(trial.datetime_start, trial.datetime_complete) for trial in study.trials]
    assert [(end - start).total_seconds() for start, end in times if start and end] == [0.0, 2.5, 0.0, 0.0]
    assert study.trials[0].user_attrs["val_loss"] == 1 / 3
    assert study.trials[0].user_attrs["mlm_accuracy"] == 0.0


def test_a_search_for_a_front_is_a_study_of_several_objectives(storage: str) -> None:
    def costly(number: int, score: float, parameters: int) -> Trial:
        metrics = {"parameters": parameters, "flops": 7.0}
        return Trial(Proposal(number, CONVOLUTION), Outcome(Status.COMPLETE, score, metrics=metrics))

    trials = [costly(0, -5.0, 10), costly(1, -4.0, 20), costly(2, -6.0, 30)]
    trials.append(Trial(Proposal(3, ATTENTION), Outcome(Status.DIVERGED, reason="loss is nan")))
    history = History(storage, identity={}, costs=["parameters"])
    for trial in trials:
        history.append(trial)
    assert History(storage, costs=["parameters"]).load() == trials
    study = optuna.load_study(study_name=STUDY, storage=storage)
    assert study.metric_names == ["score", "parameters"]
    assert sorted(trial.number for trial in study.best_trials) == [0, 1]


def test_a_study_for_a_front_of_earlier_versions_goes_on(written: str) -> None:
    following = Trial(Proposal(4, ATTENTION), Outcome(Status.COMPLETE, 0.0, metrics={"parameters": 3}))
    History(written, costs=["parameters"]).append(following)
    assert History(written, costs=["parameters"]).load() == [*TRIALS, following]


@pytest.mark.parametrize("name", ["what?", "50%20x", "a#b", "{x}", "größe & co", "a@b:c"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "study.db"
    file.parent.mkdir()
    History(file).append(TRIALS[0])
    assert read_trials(file) == History(file).load() == TRIALS[:1]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in file.parent.iterdir()] == ["study.db"]


def test_a_journal_on_a_shared_disk(tmp_path: Path) -> None:
    storage = f"journal:///{tmp_path / 'team.log'}"
    with pytest.raises(HistoryError, match="there is no file"):
        read_trials(storage)
    history = History(storage, identity={"seed": 1})
    for trial in TRIALS:
        history.append(trial)
    assert read_trials(storage) == History(storage).load() == TRIALS
    with pytest.raises(HistoryError, match="is of a search with another seed"):
        History(storage, identity={"seed": 2})


@pytest.mark.parametrize(
    ("primitives", "shown"), [("modern", "modern"), (["add", "matmul"], "add, matmul"), ([], "none")]
)
def test_a_study_of_other_primitives_names_both_sets(
    storage: str, primitives: str | list[str], shown: str
) -> None:
    def identity(chosen: str | list[str]) -> dict[str, dict[str, object]]:
        return {"space": SpaceConfig(attention_share=0, primitives=chosen).model_dump(mode="json")}

    History(storage, identity=identity("paper"))
    says = rf"is of a search with another space\.primitives \(paper there, {shown} here\); choose"
    with pytest.raises(HistoryError, match=says):
        History(storage, identity=identity(primitives))
    History(storage, identity=identity(list(PAPER)))  # the same set, written out


def test_foreign_trials_get_a_clear_error(storage: str) -> None:
    study = optuna.create_study(storage=storage, study_name=STUDY, direction="maximize")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(HistoryError, match="trial 0 of the study was not written by a search"):
        History(storage).load()


@pytest.mark.parametrize(
    "damage",
    [
        {"status": "happy"},
        {"backbone": ["conv 8"]},
        {"backbone": 7},
        {"rescored": {"a": 1.0}},
        {"mutations": 1},
    ],
)
def test_damaged_attributes_get_a_clear_error(written: str, damage: dict[str, object]) -> None:
    study = optuna.load_study(study_name=STUDY, storage=written)
    attributes = {**study.trials[0].user_attrs, **damage}
    study.add_trial(optuna.trial.create_trial(value=1.0, user_attrs=attributes))
    with pytest.raises(HistoryError, match="trial 4 of the study was not written by a search"):
        History(written).load()


def test_what_is_no_database_gets_a_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    file.write_bytes(b"garbage" * 500)
    with pytest.raises(HistoryError, match=r"study\.db cannot be reached or read .*file is not a database"):
        History(f"sqlite:///{file}")
    assert file.read_bytes() == b"garbage" * 500


def test_a_database_that_lost_its_end_gets_a_clear_error(written: str, tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    file.write_bytes(file.read_bytes()[:40_000])
    with pytest.raises(HistoryError, match="cannot be reached or read"):
        History(written)


def test_a_study_that_cannot_be_made_is_named_with_the_remedy(
    storage: str, no_room: Callable[[int], None]
) -> None:
    no_room(60_000)
    with pytest.raises(StorageError, match=r"study\.db cannot be written \(.*make room .*--resume"):
        History(storage, identity={"seed": 1})


def test_a_study_that_cannot_grow_is_named_with_the_remedy_and_keeps_what_it_has(
    written: str, tmp_path: Path, no_room: Callable[[int], None]
) -> None:
    history = History(tmp_path / "study.db")
    large = Outcome(Status.FAILED, reason="long " * 20_000)
    no_room((tmp_path / "study.db").stat().st_size)
    with pytest.raises(StorageError, match=r"study\.db cannot be written \(.*make room .*--resume"):
        history.append(Trial(Proposal(4, ATTENTION), large))
    assert read_trials(tmp_path / "study.db") == TRIALS


def test_a_kill_within_a_transaction_leaves_the_trials_before(written: str, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM trials WHERE number = 3")
    connection.close()  # without a commit
    assert History(written).load() == TRIALS


def scored(number: int, score: float | None, rescored: dict[int, float] | None = None) -> Trial:
    outcome = Outcome(Status.FAILED) if score is None else Outcome(Status.COMPLETE, score)
    return Trial(Proposal(number, CONVOLUTION), outcome, rescored or {})


def test_ranked_uses_the_newest_score() -> None:
    trials = [
        scored(0, 5.0),
        scored(1, 1.0),
        scored(2, None),
        scored(3, 3.0, {0: 2.0, 1: 4.0}),
        scored(4, 0.0, {1: 2.5}),
        scored(5, 2.5),
    ]
    # Newest scores: 0: 2.0, 1: 2.5, 3: 3.0, 4: 0.0, 5: 2.5; ties in the order of the numbers.
    assert [trial.proposal.number for trial in ranked(trials)] == [3, 1, 5, 0, 4]
    assert ranked([]) == []
    assert ranked([scored(0, None)]) == []


@pytest.mark.parametrize("score", [None, float("nan"), float("inf"), float("-inf")])
def test_a_complete_outcome_has_a_finite_score(score: float | None) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        Outcome(Status.COMPLETE, score)
