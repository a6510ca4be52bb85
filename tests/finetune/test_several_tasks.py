"""Several tasks in one call: checked before the first is trained, and settings that all of them share."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
from transformers import PreTrainedTokenizerFast

from autobert_zero.finetune.training import sweep

QUICK = ("--rates", "1e-2", "--seeds", 1, "--batch-size", 16, "--set", "steps=2")


@pytest.fixture(scope="module")
def tasks(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of texts and one of questions, each with a folder."""
    folder = tmp_path_factory.mktemp("tasks")
    shutil.copytree(data, folder / "sst2")
    (folder / "cola").mkdir()
    rows = "".join(json.dumps({"sentence": f"it was {i}", "label": i % 2}) + "\n" for i in range(16))
    for split in ("train", "validation"):
        (folder / "cola" / f"{split}.jsonl").write_text(rows)
    (folder / "squad").mkdir()
    answers = [{"text": "film", "answer_start": 4}]
    question = {"id": "q", "question": "the", "answers": answers}
    content = {"data": [{"paragraphs": [{"context": "the film", "qas": [question]}]}]}
    for split in ("train", "validation"):
        (folder / "squad" / f"{split}.json").write_text(json.dumps(content))
    return folder


def test_each_task_has_a_folder_that_is_a_model(model: Path, tasks: Path, tmp_path: Path) -> None:
    given = ("--task", "sst2", "--task", "squad", "--data", tasks, "--out", tmp_path)
    done = tiny.command("finetune", "--model", model, *given, *QUICK)
    assert done.code == 0, done.err
    heads = [json.loads((tmp_path / task / "config.json").read_text()) for task in ("sst2", "squad")]
    assert [head["architectures"][0][len("AutoBertZeroFor") :] for head in heads] == [
        "SequenceClassification",
        "QuestionAnswering",
    ]
    assert "| average of 2 tasks | " in (tmp_path / "table.md").read_text()
    assert "AutoModelForQuestionAnswering" in (tmp_path / "squad" / "README.md").read_text()


def test_what_a_later_task_needs_is_checked_first(
    model: Path, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of them needs a fast tokenizer, which is only seen when it is tokenised."""
    slow = tmp_path / "slow"
    shutil.copytree(model, slow)
    monkeypatch.setattr(sweep, "finetune_once", None)
    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    given = ("--task", "sst2", "--task", "squad", "--data", tasks, "--out", tmp_path / "out")
    done = tiny.command("finetune", "--model", slow, *given, *QUICK)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "needs a fast tokenizer" in done.err
    assert not (tmp_path / "out").exists()


def test_one_task_twice(model: Path, tasks: Path, tmp_path: Path) -> None:
    given = ("--task", "sst2", "--task", "sst2", "--data", tasks, "--out", tmp_path / "out")
    done = tiny.command("finetune", "--model", model, *given)
    assert (done.code, done.err) == (2, "error: two tasks have one name: sst2, sst2\n")


def test_rates_seeds_and_keep_are_settings(model: Path, tasks: Path, tmp_path: Path) -> None:
    """Of a file, of options over it, and of --set over both; and they may change in a folder."""
    config = tmp_path / "mine.yaml"
    config.write_text("rates: [0.01, 0.02]\nseeds: 2\nkeep: all\nsteps: 1\n")
    out = tmp_path / "out"
    given = ("finetune", "--model", model, "--task", "cola", "--data", tasks / "cola", "--out", out)
    more = ("--config", config, "--seeds", 3, "--set", "keep=none", "--set", "seeds=1")
    done = tiny.command(*given, *more)
    assert done.code == 0, done.err
    settings = json.loads((out / "finetune.json").read_text())["settings"]
    assert (settings["rates"], settings["seeds"], settings["keep"]) == ([0.01, 0.02], 1, "none")
    assert len(list((out / "runs").glob("*.json"))) == 2
    assert not (out / "model.safetensors").exists()
    done = tiny.command(*given, "--config", config, "--rates", "0.03")
    assert done.code == 0, done.err
    assert len(list((out / "runs").glob("*.json"))) == 4


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rates=[]", "rates: list should have at least 1 item, not 0"),
        ("rates=[0.1, 0.1]", "learning rates must be different numbers between 0 and 1, not [0.1, 0.1]"),
        ("rates=[fast]", "rates.0: input should be a valid number"),
        ("seeds=0", "seeds: input should be greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be(
    model: Path, tasks: Path, tmp_path: Path, setting: str, message: str
) -> None:
    given = ("--task", "cola", "--data", tasks / "cola", "--out", tmp_path / "out")
    for command in (("finetune",), ("plan", "finetune")):
        done = tiny.command(*command, "--model", model, *given, "--set", setting)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert message in done.err
    assert not (tmp_path / "out").exists()


def test_plan_adds_the_tasks_up(model: Path, tasks: Path) -> None:
    options = ("--model", model, "--data", tasks, "--hardware", "t4", "--set", "steps=2")
    glue = tiny.command("plan", "glue", *options)
    assert glue.code == 0, glue.err
    for part in ("cola: 5 trainings", "sst2: 5 trainings"):
        assert part in glue.out
    chosen = ("--task", "cola", "--task", "sst2", "--set", "rates=[0.1]", "--set", "seeds=1")
    done = tiny.command("plan", "finetune", *chosen, *options)
    assert done.code == 0, done.err
    assert "sst2: 1 training" in done.out
