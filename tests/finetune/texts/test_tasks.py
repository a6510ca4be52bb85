"""The table of tasks, tasks of one's own, and the metrics by hand."""

from pathlib import Path

import numpy as np
import pytest

from autobert_zero.cli.finetune import glue_tasks
from autobert_zero.errors import UserError
from autobert_zero.finetune.kinds import find_task
from autobert_zero.finetune.metrics import METRICS
from autobert_zero.finetune.texts.glue import TASKS
from autobert_zero.finetune.texts.task import Task


def test_glue_is_complete() -> None:
    assert list(TASKS) == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]
    assert all(len(task.submission) == len(task.test) for task in TASKS.values())
    assert [name for name, task in TASKS.items() if task.regression] == ["stsb"]


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "topics.yaml"
    path.write_text("columns: [title]\nlabels: [sport, art]\nlabel: topic\nmetrics: [macro_f1]\n")
    task = find_task(str(path))
    assert isinstance(task, Task)
    assert (task.name, task.columns, task.labels, task.label) == (
        "topics",
        ("title",),
        ("sport", "art"),
        "topic",
    )
    assert task.hub is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: [a]\nmetrics: [bleu]", "metrics must be among .*, not bleu"),
        ("columns: [a]\nmetrics: []", "not none"),
        ("columns: [a, b, c]\nmetrics: [f1]", "there must be one or two columns, not 3"),
        ("columns: [a]\nlabels: [x]\nmetrics: [f1]", "one label leaves nothing to learn"),
        ("columns: [a]\nmetrics: [f1]\ncolour: red", "unknown key colour"),
        ("metrics: [f1]", "columns is missing"),
        ("columns: a\nmetrics: [f1]", "columns must be a list"),
        ("columns: [a]\nmetrics: [f1]", "f1 does not fit a regression .* there are pearson, spearman"),
        (
            "columns: [a]\nlabels: [x, y, z]\nmetrics: [f1]",
            "f1 does not fit 3 labels; there are accuracy",
        ),
        ("columns: [a]\nlabels: [x, y]\nmetrics: [pearson]", "pearson does not fit 2 labels"),
        ("columns: [a]\nlabels: [x, x]\nmetrics: [f1]", "a label is there twice: x"),
        ("columns: [a]\nmetrics: [pearson]\nvalidation: []", "validation must be one or more splits"),
        ("columns: [a]\nmetrics: [pearson]\nvalidation: [test]", "validation must be one or more splits"),
        ("columns: [a]\nmetrics: [pearson]\nlabel: [l]", "label must be a text"),
        ("columns: [a]\nmetrics: [pearson]\nname: a/b", "name must do as the name of a file"),
        ("columns: [a]\nmetrics: [pearson]\n1: x", "unknown key 1"),
        ("columns: [a]\nmetrics: [pearson]\nlabls: [x, y]", "unknown key labls; .*did you mean labels"),
        ("columns: [a]\nmetrics: [pearson]\ncolumns: [b]", "line 3: the key 'columns' is given twice"),
        ("columns: [a]\nmetrics: [pearson]\nlabels: {x: y}", "labels must be a list"),
        ("columns: [a]\nmetrics: [pearson]\nlabels: [[x], [y]]", "labels must be a list"),
        ("columns: [a]\nmetrics: [pearson]\nlabels:", "labels must be a list"),
        ("columns: [a, a]\nmetrics: [pearson]", "a column is there twice: a"),
        ("columns: [label]\nmetrics: [pearson]", "a column is there twice: label"),
        ("columns: ['']\nmetrics: [pearson]", "a column is empty"),
        ("columns: [a]\nlabels: [x, '']\nmetrics: [accuracy]", "a label is empty"),
        ("columns: [a]\nmetrics: [pearson, pearson]", "a metric is there twice: pearson"),
        ("columns: [a]\nmetrics: [pearson]\ntest: [train]", "a split is there twice: train"),
        ("columns: [a]\nmetrics: [pearson]\nvalidation: [v, v]", "a split is there twice: v"),
        ("columns: " + "[" * 500, "nested more than 50 levels deep"),
        ("kind: tag\ncolumns: [a]\nmetrics: [pearson]", "kind must be one of texts, .*not tag"),
        ("kind: squad\ncolumns: [a]\nmetrics: [pearson]", "kind must be one of texts, .*not squad"),
        ("kind: [texts]\ncolumns: [a]\nmetrics: [pearson]", "kind must be one of texts"),
        ("- a\n- b\n", "is not a mapping"),
        ("", "columns is missing"),
        ("columns: [a]\nmetrics: [pearson]\nname: ..", "the name must do as the name of a file"),
        ("columns: [a]\nmetrics: [pearson]\nname: .", "the name must do as the name of a file"),
        ("columns: [a]\nmetrics: [pearson]\nname: ''", "the name must do as the name of a file"),
        ('columns: [a]\nmetrics: [pearson]\nname: "\\0"', "the name must do as the name of a file"),
        ('columns: [a]\nmetrics: [pearson]\nname: "a\\nb"', "the name must do as the name of a file"),
        ('columns: [a]\nmetrics: [pearson]\nname: " "', "the name must do as the name of a file"),
        ('columns: ["a\\uD800"]\nmetrics: [pearson]', "columns: has half a character"),
        ('columns: [a]\nlabels: [b, "\\uDC00"]\nmetrics: [accuracy]', "labels: has half a character"),
        ("columns: [a]\nmetrics: [pearson]\nname: /x", "the name must do as the name of a file"),
        ("columns: [a]\nmetrics: [pearson]\nname: a\\b", "the name must do as the name of a file"),
        ("columns: [a]\nmetrics: [pearson]\nvalidation: [../v]", "a split must do as the name of a file"),
        ("columns: [a]\nmetrics: [pearson]\ntest: [../../t]", "a split must do as the name of a file"),
        ("columns: [a]\nmetrics: [pearson]\ntest: ['..']", "a split must do as the name of a file"),
        ("columns: [a]\nmetrics: [pearson]\nvalidation: ['']", "a split must do as the name of a file"),
        ('columns: [a]\nmetrics: [pearson]\ntest: ["a\\0"]', "a split must do as the name of a file"),
        ('columns: [a]\nlabels: [b, "c\\td"]\nmetrics: [accuracy]', r"the label 'c\\td' has a tab or a line"),
    ],
)
def test_tasks_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        find_task(str(path))


def test_values_are_taken_as_written(tmp_path: Path) -> None:
    """YAML's own `no` is a boolean, and its `01` and `1.0` are numbers."""
    path = tmp_path / "answers.yaml"
    path.write_text("name: 2024\ncolumns: [no]\nlabels: [no, yes, 01, 1.0, null]\nmetrics: [accuracy]\n")
    task = find_task(str(path))
    assert isinstance(task, Task)
    assert (task.name, task.columns) == ("2024", ("no",))
    assert task.labels == ("no", "yes", "01", "1.0", "null")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\0", b"columns: [gr\xfcn]", b"\xff\xfec\0", b"columns: ["])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"task .*mine\.yaml is not YAML: ") as caught:
        find_task(str(path))
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task .*none\.yaml cannot be read: No such file"):
        find_task(str(tmp_path / "none.yaml"))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UserError, match=r"task .*folder\.yaml cannot be read: Is a directory"):
        find_task(str(tmp_path / "folder.yaml"))


def test_an_unknown_task_names_the_known() -> None:
    with pytest.raises(
        UserError, match=r"unknown task 'squab'; there are cola, sst2.* squad_v2.*did you mean squad\?"
    ):
        find_task("squab")


@pytest.mark.parametrize(
    ("name", "meant"), [("SST-2", "sst2"), ("STS_B", "stsb"), ("CoLA", "cola"), ("SQuAD 2.0", "squad_v2")]
)
def test_a_task_as_papers_write_it(name: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"did you mean {meant}\?"):
        find_task(name)


@pytest.mark.parametrize("names", ["cola,,rte", "cola,rte,", "", " "])
def test_an_empty_name_of_a_task(names: str) -> None:
    with pytest.raises(UserError, match="--tasks must be names separated by commas, not"):
        glue_tasks(names, None)


@pytest.mark.parametrize(
    ("metric", "predictions", "labels", "expected"),
    [
        ("accuracy", [1, 0, 1, 1], [1, 0, 0, 1], 0.75),
        # Precision 2/3, recall 1.
        ("f1", [1, 0, 1, 1], [1, 0, 0, 1], 0.8),
        ("f1", [0, 0], [0, 0], 0.0),
        ("macro_f1", [1, 0, 1, 1], [1, 0, 0, 1], (0.8 + 2 / 3) / 2),
        # Three of class 1, all right but for one that is 0's: F1 of 6/7 and 0; every class counts the same.
        ("macro_f1", [1, 1, 1, 1], [1, 1, 1, 0], 3 / 7),
        # Class 2 never occurs and is never predicted: the mean is over the classes that do.
        ("macro_f1", [0, 1, 1, 1, 1], [0, 0, 1, 1, 1], (2 / 3 + 6 / 7) / 2),
        # (TP TN - FP FN) / root of the product of the margins = (2 - 0) / root(3 * 2 * 2 * 1).
        ("matthews", [1, 0, 1, 1], [1, 0, 0, 1], 2 / 12**0.5),
        ("pearson", [1.0, 2.0, 4.0], [1.0, 2.0, 3.0], 0.9819805),
        ("spearman", [1.0, 20.0, 400.0], [1.0, 2.0, 3.0], 1.0),
        ("pearson", [1.0, 1.0, 1.0], [1.0, 2.0, 3.0], 0.0),
    ],
)
def test_metrics_by_hand(metric: str, predictions: list[float], labels: list[float], expected: float) -> None:
    assert METRICS[metric](np.array(predictions), np.array(labels)) == pytest.approx(expected)
