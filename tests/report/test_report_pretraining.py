"""The page of pre-trainings: curves, table, results beside the folder; damage is left out and said."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from toy_runs import Page

from autobert_zero.report.page import read_page
from autobert_zero.report.pretraining import comparable, read_pretraining
from autobert_zero.run_folder.digests import model_digest

SUMMARY = {
    "backbone": ["conv 3"],
    "parameters": 5543,
    "tokens": 5120,
    "holdout_loss": 4.0239,
    "seconds": 61.0,
}
CONFIG = """backbone: [conv 3]
data: {corpus: [books, wiki]}
phases: [{steps: 40}, {steps: 10}]
"""


def training(folder: Path, text: str = "t", vocabulary: str = "v", config: str = CONFIG) -> Path:
    folder.mkdir()
    (folder / "pretrain.yaml").write_text(config)
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    lines = [{"step": step, "loss": 5 - step / 20, "learning_rate": 1e-3} for step in (20, 40, 50)]
    lines.insert(1, {"step": 20, "validation_loss": 4.5, "mlm_accuracy": 0.1})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record(folder, "pre-training", {"text": text, "vocabulary": vocabulary})
    return folder


def record(folder: Path, kind: str, inputs: dict[str, str]) -> None:
    session = {"commit": "a" * 40, "command": "autobert-zero pretrain", "versions": {"autobert-zero": "1"}}
    content: dict[str, Any] = {"kind": kind, "format": 1, "sessions": [session]}
    content["inputs"] = {name: {"identity": each, "name": each} for name, each in inputs.items()}
    (folder / "run.json").write_text(json.dumps(content))


def test_curves_table_and_config(tmp_path: Path) -> None:
    page = Page(read_page([training(tmp_path / "one")]))
    assert page.problems == []
    assert "one has a held-out loss of 4.0239 after 5,120 tokens." in page.text
    assert "corpus: [books, wiki]" in page.text
    assert "Text: books, wiki (digest t)" in page.text
    assert [chart["name"] for chart in page.data["charts"]] == [
        *("loss", "accuracy of masked tokens, validation", "learning rate")
    ]
    train, validation = page.data["charts"][0]["series"]
    assert train["points"] == [[20, 4.0], [40, 3.0], [50, 2.5]]
    assert (validation["points"], validation["label"], validation["dashed"]) == (
        [[20, 4.5]],
        "validation",
        True,
    )
    assert "conv 3" in page.data["pictures"][0]


def test_fine_tunings_beside_it_are_shown(tmp_path: Path) -> None:
    model = training(tmp_path / "one")
    (model / "config.json").write_text("{}")
    own, other = str(model_digest(model)), "b" * 64
    for name, of in (("sst2", own), ("rte", other), ("unfinished", own)):
        folder = tmp_path / "glue" / name
        folder.mkdir(parents=True)
        (folder / "finetune.json").write_text("{}")
        record(folder, "fine-tuning", {"model": of})
        score = {"task": name, "seeds": 3, "mean": {"validation": {"accuracy": 0.81}}}
        score |= {"spread": {"validation": {"accuracy": 0.01}}, "test": {}, "test_spread": {}}
        if name != "unfinished":
            (folder / "score.json").write_text(json.dumps(score))
    (row,) = read_pretraining(model).fine_tunings
    assert (row.task, row.scores, row.folder) == ("sst2", "accuracy 81.0 ± 1.0", "glue/sst2")
    assert "accuracy 81.0 ± 1.0" in Page(read_page([model])).text


def test_several_are_compared_where_their_losses_mean_the_same(tmp_path: Path) -> None:
    one, two = training(tmp_path / "one"), training(tmp_path / "two")
    distilled = training(tmp_path / "three", config=CONFIG + "distil: {teacher: bert}\n")
    record(distilled, "pre-training", {"text": "t", "vocabulary": "v", "teacher": "d"})
    other = training(tmp_path / "four", text="other")
    words = training(tmp_path / "five", config=CONFIG.replace("wiki]", "wiki], whole_words: true"))
    page = Page(read_page([one, two]))
    assert "All have the same text, vocabulary and goal" in page.text
    assert [each["label"] for each in page.data["charts"][0]["series"]] == [
        *("one training", "one validation", "two training", "two validation")
    ]
    for different in (distilled, other, words):
        assert "Losses cannot be compared" in Page(read_page([one, different])).text


@pytest.mark.parametrize(
    ("settings", "digest", "expected"),
    [
        ("teacher: bert, kept_gigabytes: 1", "a", "All have the same"),
        ("teacher: elsewhere/bert", "a", "All have the same"),
        ("teacher: bert, hidden: 1", "a", "Losses cannot be compared"),
        ("teacher: bert, temperature: 2", "a", "Losses cannot be compared"),
        ("teacher: bert", "b", "Losses cannot be compared"),
        ("teacher: bert", "", "Whether all were trained on the same text and vocabulary, for the same goal"),
    ],
)
def test_distillations_are_compared_where_their_goals_are_the_same(
    settings: str, digest: str, expected: str, tmp_path: Path
) -> None:
    runs = []
    for name, each, identity in (("one", "teacher: bert", "a"), ("two", settings, digest)):
        runs.append(training(tmp_path / name, config=CONFIG + f"distil: {{{each}}}\n"))
        record(runs[-1], "pre-training", {"text": "t", "vocabulary": "v", "teacher": identity})
    assert comparable([read_pretraining(run) for run in runs]).startswith(expected)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pretrain.yaml", "3"),
        ("pretrain.yaml", "backbone: [conv 3]\nphases: 3\n"),
        ("pretrain.yaml", "backbone: [conv 3]\ntext: books\ndistil: bert\n"),
        ("summary.json", "[1]"),
        ("summary.json", json.dumps(SUMMARY | {"seconds": "long"})),
        ("summary.json", json.dumps(SUMMARY | {"parameters": [5]})),
        ("summary.json", json.dumps(SUMMARY | {"holdout_loss": float("nan")})),
    ],
)
def test_a_damaged_config_or_summary_is_said(name: str, text: str, tmp_path: Path) -> None:
    folder = training(tmp_path / "one")
    (folder / name).write_text(text)
    page = Page(read_page([folder]))
    assert page.problems == []
    said = "The config cannot be read" if name == "pretrain.yaml" else "summary.json is damaged"
    assert said in page.text
    assert len(page.data["charts"]) == 3


def test_damage_is_left_out_and_said(tmp_path: Path) -> None:
    folder = training(tmp_path / "one")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "loss": NaN, "learning_rate": 0.5}\n{"step": 70, "lo')
    (folder / "summary.json").write_text("{")
    (folder / "run.json").unlink()
    page = Page(read_page([folder]))
    assert page.problems == []
    assert "Not finished: 60 of 50 steps are logged." in page.text
    assert "1 damaged line" in page.text
    assert "summary.json is damaged" in page.text
    assert "was not recorded" in page.text
    assert page.data["charts"][0]["series"][0]["points"][-1] == [50, 2.5]
    for name in ("metrics.jsonl", "summary.json"):
        (folder / name).unlink()
    (folder / "pretrain.yaml").write_text("backbone: [")
    page = Page(read_page([folder]))
    assert (page.data["charts"], page.data["pictures"]) == ([], [None])


def test_searches_and_trainings_are_not_mixed(tmp_path: Path) -> None:
    one, two = training(tmp_path / "one"), tmp_path / "two"
    two.mkdir()
    done = tiny.command("report", one, two, "-o", tmp_path / "page.html")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{two} holds no pre-training, but others of these folders do" in done.err
