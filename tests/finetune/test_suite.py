"""Fine-tuning through the command line: what is learned, kept, continued and written."""

import errno
import json
import os
import shutil
from inspect import signature
from pathlib import Path
from typing import Any

import hf_samples
import pytest
import tiny
from transformers import BertForMaskedLM

from autobert_zero.finetune import suite
from autobert_zero.finetune.results.scores import Score, score_table
from autobert_zero.finetune.texts.glue import TASKS
from autobert_zero.finetune.texts.submission import write_submission
from autobert_zero.finetune.texts.task import Task
from autobert_zero.finetune.training import sweep
from autobert_zero.finetune.training.folder import content_digest
from autobert_zero.finetune.training.train import FinetuneResult, finetune_once
from autobert_zero.hf import AutoBertZeroForMaskedLM


def arguments(model: Path, data: Path, out: Path) -> list[object]:
    options = ("--rates", "1e-5,1e-2", "--seeds", 2, "--epochs", 3, "--batch-size", 16)
    return ["finetune", "--model", model, "--task", "sst2", "--data", data, "--out", out, *options]


@pytest.fixture(scope="module")
def tuned(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "out"
    done = tiny.command(*arguments(model, data, out))
    assert done.code == 0, done.err
    assert "| sst2 | accuracy | " in done.out
    task, trainings, machine = done.log.splitlines()[:3]
    assert task.startswith("task sst2 (train ")
    assert trainings.startswith("3 trainings of at most ")
    assert trainings.endswith(": 2 learning rates with the first seed, the best of them with 1 more seed")
    assert machine.startswith("device cpu")
    return out


def test_it_learns_and_chooses_the_rate(tuned: Path) -> None:
    score = json.loads((tuned / "score.json").read_text())
    assert score["rate"] == 1e-2
    assert score["seeds"] == 2
    assert score["mean"]["validation"]["accuracy"] > 0.95


def test_test_splits_with_labels_are_scored(tuned: Path, data: Path) -> None:
    """By hand: the mean over the seeds, of predictions that chose nothing."""
    labels = [json.loads(line)["label"] for line in (data / "test.jsonl").read_text().splitlines()]
    accuracies = []
    for seed in (0, 1):
        run = json.loads((tuned / "runs" / f"seed{seed}-rate0.01.json").read_text())
        hits = [said == label for said, label in zip(run["predictions"]["test"], labels, strict=True)]
        accuracies.append(sum(hits) / len(hits))
    score = json.loads((tuned / "score.json").read_text())
    assert score["test"]["test"]["accuracy"] == pytest.approx(sum(accuracies) / 2)


def test_trivial_predictors_stand_beside(tuned: Path, data: Path) -> None:
    def labels(split: str) -> list[int]:
        return [json.loads(line)["label"] for line in (data / f"{split}.jsonl").read_text().splitlines()]

    trivial = json.loads((tuned / "score.json").read_text())["trivial"]
    assert set(trivial) == {"validation", "test"}
    majority = int(sum(labels("train")) * 2 > len(labels("train")))
    for split in trivial:
        expected = labels(split).count(majority) / len(labels(split))
        assert trivial[split]["majority class"]["accuracy"] == pytest.approx(expected)
    assert trivial["validation"]["bag of words"]["accuracy"] > 0.95  # one word tells


def test_predictions_read_the_column_of_the_task(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,sentence\nthe play was bad,the film was good\n")
    done = tiny.command("predict", "--model", tuned, tmp_path / "a.csv")
    assert done.code == 0, done.err
    assert list(json.loads(done.out))[:2] == ["sentence", "label"]


def test_every_run_is_kept_and_the_best_weights_only(tuned: Path) -> None:
    assert {path.name for path in (tuned / "runs").iterdir()} == {
        *("seed0-rate1e-05.json", "seed0-rate0.01.json", "seed1-rate0.01.json"),
    }
    assert [path.parent for path in tuned.rglob("*.safetensors")] == [tuned]


def test_predictions_are_in_glues_format(tuned: Path, data: Path) -> None:
    lines = (tuned / "SST-2.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    labels = [json.loads(line)["label"] for line in (data / "test.jsonl").read_text().splitlines()]
    assert lines[1:] == [f"{index}\t{label}" for index, label in enumerate(labels)]


def test_the_same_call_continues(
    tuned: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tiny.contents(tuned)
    trained = []

    def once(*given: Any) -> FinetuneResult:
        trained.append(given)
        return finetune_once(*given)

    monkeypatch.setattr(sweep, "finetune_once", once)
    assert tiny.command(*arguments(model, data, tuned)).code == 0
    assert trained == []
    (tuned / "runs" / "seed1-rate0.01.json").unlink()
    assert tiny.command(*arguments(model, data, tuned)).code == 0
    assert len(trained) == 1
    after = tiny.contents(tuned)
    # All but the time that the repeated run took, and the record of the calls.
    assert {name for name in before if before[name] != after[name]} <= {
        "runs/seed1-rate0.01.json",
        "run.json",
    }
    sessions = json.loads((tuned / "run.json").read_text())["sessions"]
    assert len(sessions) == 3
    assert all("finetune --model" in session["command"] for session in sessions)


def test_other_files_beside_the_data_and_another_device_change_nothing(
    tuned: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(tuned, tmp_path / "out")
    for name in ("notes.txt", "predictions.csv", "config.json"):
        (tmp_path / "data" / name).write_text("unrelated")
    monkeypatch.setattr(sweep, "finetune_once", None)
    done = tiny.command(*arguments(model, tmp_path / "data", tmp_path / "out"), "--device", "cpu")
    assert done.code == 0, done.err


def test_other_data_or_another_model_is_not_answered_from_old_runs(
    tuned: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(model, tmp_path / "model")
    with (tmp_path / "data" / "train.jsonl").open("a") as file:
        file.write('{"sentence": "more", "label": 1}\n')
    AutoBertZeroForMaskedLM(hf_samples.config(hidden_dropout_prob=0.0)).save_pretrained(tmp_path / "model")
    before = tiny.contents(tuned)
    for given, what in (((model, tmp_path / "data"), "data"), ((tmp_path / "model", data), "model")):
        done = tiny.command(*arguments(*given, tuned))
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"{tuned} was started on other {what}" in done.err
    assert tiny.contents(tuned) == before


def test_a_copy_of_the_model_and_the_data_is_the_same(
    tuned: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents count, not places."""
    shutil.copytree(data, tmp_path / "data" / "sst2")
    shutil.copytree(model, tmp_path / "model")
    monkeypatch.setattr(sweep, "finetune_once", None)
    assert tiny.command(*arguments(tmp_path / "model", tmp_path / "data" / "sst2", tuned)).code == 0


def test_records_of_the_run_that_made_the_model_do_not_count(
    tuned: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose model was recorded by a digest of all its JSON files goes on too."""
    shutil.copytree(model, tmp_path / "model")
    shutil.copytree(tuned, tmp_path / "old")
    (tmp_path / "model" / "run.json").write_text("{}")
    monkeypatch.setattr(sweep, "finetune_once", None)
    record = json.loads((tuned / "run.json").read_text())
    record["inputs"]["model"]["identity"] = content_digest(tmp_path / "model")
    (tmp_path / "old" / "run.json").write_text(json.dumps(record))
    for out in (tuned, tmp_path / "old"):
        done = tiny.command(*arguments(tmp_path / "model", data, out))
        assert done.code == 0, done.err
    tokenizer = tmp_path / "model" / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    done = tiny.command(*arguments(tmp_path / "model", data, tmp_path / "old"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "was started on other model" in done.err


def test_a_folder_without_a_record_goes_on(
    tuned: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of before there was run.json: digests are in finetune.json, with the length that was asked for."""
    old = tmp_path / "old"
    shutil.copytree(tuned, old)
    (old / "run.json").unlink()
    about = json.loads((old / "finetune.json").read_text())
    about["model"] = str(model)
    about["settings"]["length"] = 128
    about["contents"] = {"model": content_digest(model), "data": content_digest(data), "task": None}
    (old / "finetune.json").write_text(json.dumps(about))
    monkeypatch.setattr(sweep, "finetune_once", None)
    done = tiny.command(*arguments(model, data, old))
    assert done.code == 0, done.err
    about["contents"]["data"] = "0" * 64
    (old / "run.json").unlink()
    (old / "finetune.json").write_text(json.dumps(about))
    done = tiny.command(*arguments(model, data, old))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "holds a fine-tuning with other data" in done.err


def test_a_folder_of_before_there_was_a_floor_keeps_its_recipe(
    tuned: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    shutil.copytree(tuned, old)
    about = json.loads((old / "finetune.json").read_text())
    del about["settings"]["min_updates"]
    (old / "finetune.json").write_text(json.dumps(about))
    monkeypatch.setattr(sweep, "finetune_once", None)
    done = tiny.command(*arguments(model, data, old), "--set", "min_updates=100")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "holds a fine-tuning with min_updates 0, not 100" in done.err
    done = tiny.command(*arguments(model, data, old))
    assert done.code == 0, done.err


def test_trivial_scores_are_kept_with_what_they_depend_on(
    tuned: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(tuned, out)
    monkeypatch.setattr(sweep, "finetune_once", None)
    path = out / "trivial.json"
    before = json.loads(path.read_text())
    for kept in ({**before, "inputs": {"data": "other"}, "metrics": {}}, before):
        path.write_text(json.dumps(kept))
        done = tiny.command(*arguments(model, data, out))
        assert done.code == 0, done.err
        assert json.loads(path.read_text()) == before
    for damage in ("{", json.dumps({**before, "metrics": {"validation": {"majority class": None}}})):
        path.write_text(damage)
        done = tiny.command(*arguments(model, data, out))
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "trivial.json is damaged" in done.err


def test_a_damaged_result_of_a_training_is_named(
    tuned: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(tuned, out)
    monkeypatch.setattr(sweep, "finetune_once", None)
    path = out / "runs" / "seed0-rate0.01.json"
    before = json.loads(path.read_text())
    damages: tuple[dict[str, Any], ...] = (
        {"metrics": {"validation": {"accuracy": None}}},
        {"metrics": {"validation": {"accuracy": "0.5"}}},
        {"metrics": {}},
        {"seconds": None},
        {"predictions": {"test": [None]}},
        {"predictions": {}},
        {"weights": 3},
    )
    for damage in damages:
        path.write_text(json.dumps(before | damage))
        done = tiny.command(*arguments(model, data, out))
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert f"{path} is damaged (" in done.err
        assert done.err.endswith("; delete it to train it again\n")
    path.unlink()
    path.mkdir()
    assert f"{path} is damaged (Is a directory)" in tiny.command(*arguments(model, data, out)).err


def test_a_damaged_model_is_trained_again(tuned: Path, model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for damage in ("", "{}"):
        shutil.copytree(tuned, out, dirs_exist_ok=True)
        (out / "config.json").write_text(damage)
        done = tiny.command(*arguments(model, data, out))
        assert done.code == 0, done.err
        assert done.log.count("its weights are not in") == 1
        for name in ("config.json", "model.safetensors"):
            assert (out / name).read_bytes() == (tuned / name).read_bytes()


def test_a_half_made_folder_is_started_again(model: Path, data: Path, tmp_path: Path) -> None:
    """Killed between making the folder and the first training; settings may change then."""
    out = tmp_path / "out"
    out.mkdir()
    (out / ".lock").touch()
    (out / "run.json").write_text("{}")
    (out / "finetune.json.0a.partial").write_text("{")
    done = tiny.command(*arguments(model, data, out)[:-6], "--rates", "1e-2", "--seeds", 1, "--epochs", 1)
    assert done.code == 0, done.err
    assert not list(out.glob("*.partial"))


def test_every_file_follows_the_umask(tuned: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    files = [path for path in tuned.rglob("*") if path.is_file() and path.name != ".lock"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~umask}


def test_weights_and_configs_that_cannot_be_read(model: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    done = tiny.command(*arguments(tmp_path / "model", data, tmp_path / "out"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "model.safetensors" in done.err
    (tmp_path / "model" / "config.json").write_text("{")
    done = tiny.command(*arguments(tmp_path / "model", data, tmp_path / "other"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    done = tiny.command(*arguments(tmp_path / "model", data, tmp_path / "other"))
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_a_full_disk_is_one_line(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "runs")

    monkeypatch.setattr(suite, "open_folder", full)
    done = tiny.command(*arguments(model, data, tmp_path / "out"))
    assert (done.code, done.err) == (
        2,
        "error: No space left on device (runs); make room, then go on where it stopped\n",
    )


def test_bad_input_is_one_line_and_changes_nothing(
    model: Path, data: Path, tuned: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    AutoBertZeroForMaskedLM(hf_samples.config()).save_pretrained(bare)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    good = {"--model": model, "--task": "sst2", "--data": data, "--out": tmp_path / "out"}
    for option, value, message in (
        ("--model", bare, "has no tokenizer"),
        ("--task", "sst3", "unknown task 'sst3'"),
        ("--data", tmp_path, "train.jsonl (or .csv, .tsv) is missing"),
        ("--out", tmp_path / "full", "holds other files already"),
        ("--out", tuned, "holds a fine-tuning with epochs 3, not 1"),
        ("--model", tmp_path / "typo", f"model '{tmp_path / 'typo'}' does not exist"),
        ("--model", data / "train.jsonl", "is a file; name the folder of a saved or exported model"),
        ("--model", data, "is not a model: it has no config.json; export a run to get one"),
        ("--model", "", "the name of the model is empty"),
        ("--task", "", "unknown task ''"),
        ("--task", "ssst2", "did you mean sst2?"),
        ("--length", 21, "--length 21 is more than the 20 positions of"),
        ("--rates", "fast", "learning rates must be numbers separated"),
        ("--rates", "2", "learning rates must be different numbers between 0 and 1"),
    ):
        before = tiny.contents(tmp_path), tiny.contents(tuned)
        given = [part for pair in (good | {option: value}).items() for part in pair]
        done = tiny.command("finetune", *given, "--epochs", 1)
        assert done.code == 2, message
        assert message in done.err
        assert done.err.count("\n") == 1
        assert (tiny.contents(tmp_path), tiny.contents(tuned)) == before


def test_small_sets_get_their_updates(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch has 16 updates; the floor is reached, or the training stops early between evaluations."""
    steps: list[tuple[int, int]] = []

    def once(*given: Any) -> FinetuneResult:
        call = signature(finetune_once).bind(*given)
        call.arguments["on_step"] = lambda done, total, loss: steps.append((done, total))
        return finetune_once(*call.args)

    monkeypatch.setattr(sweep, "finetune_once", once)
    given = ("--model", model, "--task", "sst2", "--data", data, "--rates", "1e-9", "--seeds", 1)
    small = (*given, "--batch-size", 16, "--epochs", 1, "--set", "min_updates=40")
    for patience, reached in ((99, 40), (1, 32)):  # evaluated after 16, 32 and 40; nothing is learned
        steps.clear()
        out = tmp_path / str(patience)
        done = tiny.command("finetune", *small, "--set", f"patience={patience}", "--out", out)
        assert done.code == 0, done.err
        assert "1 training of at most 40 updates" in done.log
        assert ": 1 learning rate with the first seed\n" in done.log
        assert steps == [*((number, 40) for number in range(1, reached + 1)), (40, 40)]


def test_pooling_is_the_models_unless_it_is_chosen(model: Path, data: Path, tmp_path: Path) -> None:
    """One kernel of 3: the first token sees one other, so only the mean can tell the sentence."""
    near = tmp_path / "near"
    shutil.copytree(model, near)
    AutoBertZeroForMaskedLM(hf_samples.config("conv 3", hidden_dropout_prob=0.0)).save_pretrained(near)
    means = {}
    for pooling in ("cls", "mean"):
        out = tmp_path / pooling
        done = tiny.command(*arguments(near, data, out), "--pooling", pooling)
        assert done.code == 0, done.err
        means[pooling] = json.loads((out / "score.json").read_text())["mean"]["validation"]["accuracy"]
    assert means["cls"] < 0.8
    assert means["mean"] > 0.95


def test_pooling_is_chosen_by_validation(model: Path, data: Path, tmp_path: Path) -> None:
    """At the best rate of the usual pooling; each training is the one that `--pooling` would make."""
    near = tmp_path / "near"
    shutil.copytree(model, near)
    AutoBertZeroForMaskedLM(hf_samples.config("conv 3", hidden_dropout_prob=0.0)).save_pretrained(near)
    out = tmp_path / "auto"
    done = tiny.command(*arguments(near, data, out), "--pooling", "auto")
    assert done.code == 0, done.err
    assert "5 trainings of at most 48 updates" in done.log
    assert "2 learning rates with the first seed, poolings mean, cls+mean at the best of them, " in done.log
    runs = {path.stem: json.loads(path.read_text()) for path in (out / "runs").iterdir()}
    score = json.loads((out / "score.json").read_text())
    rate = repr(score["rate"])
    tried = {
        "cls": f"seed0-rate{rate}",
        "mean": f"seed0-rate{rate}-mean",
        "cls+mean": f"seed0-rate{rate}-cls+mean",
    }
    merits = {name: runs[stem]["metrics"]["validation"]["accuracy"] for name, stem in tried.items()}
    assert score["pooling"] == max(merits, key=lambda name: merits[name]) != "cls"
    assert f"seed1-rate{rate}-{score['pooling']}" in runs
    assert len(runs) == 5
    options = ("--rates", rate, "--seeds", 1, "--epochs", 3, "--batch-size", 16, "--pooling", "mean")
    given = ("--model", near, "--task", "sst2", "--data", data, "--out", tmp_path / "mean")
    assert tiny.command("finetune", *given, *options).code == 0
    alone = json.loads((tmp_path / "mean" / "runs" / f"seed0-rate{rate}.json").read_text())
    assert alone["metrics"] == runs[tried["mean"]]["metrics"]


def test_pooling_cannot_be_chosen_for_another_architecture(model: Path, data: Path, tmp_path: Path) -> None:
    bert = tmp_path / "bert"
    shutil.copytree(model, bert)
    BertForMaskedLM(hf_samples.bert_config()).save_pretrained(bert)
    done = tiny.command(*arguments(bert, data, tmp_path / "out"), "--pooling", "mean")
    assert done.code == 2
    assert "is not an AutoBERT-Zero: how it pools cannot be chosen" in done.err
    assert not (tmp_path / "out").exists()
    short = (*arguments(bert, data, tmp_path / "out")[:-6], "--seeds", 1, "--epochs", 1)
    done = tiny.command(*short, "--pooling", "auto")
    assert done.code == 0, done.err
    assert "2 trainings" in done.log


def test_a_model_that_predicts_one_class_is_called_that(model: Path, data: Path, tmp_path: Path) -> None:
    options = ("--rates", "1e-9", "--seeds", 1, "--epochs", 1)
    given = ("--model", model, "--task", "sst2", "--data", data, "--out", tmp_path / "out")
    done = tiny.command("finetune", *given, *options)
    assert done.code == 0, done.err
    assert "; it predicts " in done.log
    assert " (constant) | majority class " in done.out
    assert "sst2: on validation the model predicts " in done.out
    assert "sst2: on test the model predicts " in done.out
    constant = json.loads((tmp_path / "out" / "score.json").read_text())["constant"]
    assert constant["validation"] in ("negative (1 of 1 seeds)", "positive (1 of 1 seeds)")
    assert "sst2: on validation the model (accuracy " in done.out  # not better than the bag of words


def test_a_test_split_without_labels_is_predicted_only(model: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    (folder / "test.jsonl").write_text('{"sentence": "good film"}\n{"sentence": "bad film"}\n')
    given = ("--model", model, "--task", "sst2", "--data", folder, "--out", tmp_path / "out")
    done = tiny.command("finetune", *given, "--rates", "1e-2", "--seeds", 1, "--epochs", 1)
    assert done.code == 0, done.err
    assert len((tmp_path / "out" / "SST-2.tsv").read_text().splitlines()) == 3
    assert "test" not in done.out.splitlines()[1]
    assert json.loads((tmp_path / "out" / "score.json").read_text())["test"] == {}


def test_the_glue_table(model: Path, data: Path, tmp_path: Path) -> None:
    options = ("--rates", "1e-2", "--seeds", 1, "--epochs", 1)
    done = tiny.command("glue", "--model", model, "--data", data.parent, "--out", tmp_path / "g", *options)
    assert done.code == 0, done.err
    text = (tmp_path / "g" / "table.md").read_text()
    assert text.splitlines()[2].startswith("| sst2 | accuracy | ")
    assert "average" not in text  # of one task
    assert text.splitlines()[0] == (
        "| task | metric | validation | trivial on validation | test | trivial on test "
        "| seeds | rate | pooling |"
    )
    assert text.splitlines()[-1].startswith("One seed: ")
    refused = tiny.command("glue", "--model", model, "--data", tmp_path, "--out", tmp_path / "h")
    assert refused.code == 2
    assert "has no folder of a GLUE task" in refused.err


def test_every_setting_is_within_reach(model: Path, data: Path, tmp_path: Path) -> None:
    """A file lies over the defaults, options over the file, --set over all."""
    config = tmp_path / "mine.yaml"
    config.write_text("weight_decay: 0.5\nepochs: 7\nbatch_size: 8\n")
    out = tmp_path / "out"
    given = (
        "--model",
        model,
        "--task",
        "sst2",
        "--data",
        data,
        "--out",
        out,
        "--rates",
        "1e-2",
        "--seeds",
        1,
    )
    options = (
        "--config",
        config,
        "--epochs",
        9,
        "--set",
        "steps=2",
        "--set",
        "warmup=0.5",
        "--set",
        "epochs=1",
    )
    done = tiny.command("finetune", *given, *options)
    assert done.code == 0, done.err
    kept = json.loads((out / "finetune.json").read_text())["settings"]
    named = ("weight_decay", "epochs", "batch_size", "steps", "warmup", "patience", "min_updates")
    assert [kept[name] for name in named] == [0.5, 1, 8, 2, 0.5, 3, 0]


@pytest.mark.parametrize("command", ["finetune", "glue"])
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("weigth_decay=1", "unknown key weigth_decay"),
        ("warmup=1", "warmup: input should be less than 1"),
        ("patience=0", "patience: input should be greater than or equal to 1"),
        ("precision=fp8", "precision: input should be"),
        ("length=long", "length: input should be a valid integer"),
    ],
)
def test_settings_that_cannot_be(
    model: Path, data: Path, tmp_path: Path, command: str, setting: str, message: str
) -> None:
    task = ("--task", "sst2", "--data", data) if command == "finetune" else ("--data", data.parent)
    done = tiny.command(command, "--model", model, *task, "--out", tmp_path / "out", "--set", setting)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_glue_checks_all_tasks_before_it_trains_one(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "glue", tmp_path / "out"
    shutil.copytree(data, folder / "sst2")
    (folder / "rte").mkdir()
    given = ("glue", "--model", model, "--data", folder, "--out", out, "--rates", "1e-2", "--seeds", 1)
    monkeypatch.setattr(sweep, "finetune_once", None)
    for line, message in (
        ('{"sentence1": "a"}', "rte/train.jsonl, line 1: "),
        ("", "rte/train.jsonl has no"),
    ):
        (folder / "rte" / "train.jsonl").write_text(line)
        done = tiny.command(*given)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert message in done.err
        assert not out.exists()
    (out / "sst2").mkdir(parents=True)
    (out / "sst2" / "mine").touch()
    done = tiny.command(*given, "--tasks", "sst2")
    assert done.code == 2
    assert "holds other files already" in done.err


def test_tasks_of_one_name_would_share_a_folder(model: Path, data: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text("columns: [sentence]\nmetrics: [pearson]\n")
    tasks = f"{tmp_path / 'a' / 'mine.yaml'},{tmp_path / 'b' / 'mine.yaml'}"
    done = tiny.command("glue", "--model", model, "--data", data, "--out", tmp_path / "o", "--tasks", tasks)
    assert done.code == 2
    assert "two tasks have one name: mine, mine" in done.err


def test_rates_that_are_close_are_runs_of_their_own(model: Path, data: Path, tmp_path: Path) -> None:
    options = ("--rates", "1e-2,1.0000001e-2", "--seeds", 1, "--epochs", 1)
    given = ("--model", model, "--task", "sst2", "--data", data, "--out", tmp_path / "out")
    done = tiny.command("finetune", *given, *options)
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2


def test_the_average_is_over_tasks() -> None:
    """By hand: a task with two metrics counts once."""
    first = Score(
        "mrpc",
        1e-3,
        2,
        {"validation": {"f1": 0.8, "accuracy": 0.6}},
        {"validation": {"f1": 0.1, "accuracy": 0.0}},
    )
    second = Score("rte", 1e-3, 1, {"validation": {"accuracy": 0.5}}, {"validation": {"accuracy": 0.0}})
    lines = score_table([first, second]).splitlines()
    assert lines[2:] == [
        "| mrpc | f1 | 80.0 ± 10.0 | 2 | 0.001 |",
        "| mrpc | accuracy | 60.0 ± 0.0 | 2 | 0.001 |",
        "| rte | accuracy | 50.0 | 1 | 0.001 |",
        "| average of 2 tasks | | 60.0 | | |",
        "",
        "One seed: how much another seed would give is not known; do not rank models by it.",
    ]
    assert score_table([first]).splitlines()[2:] == lines[2:4]


def test_submissions_of_ones_own_tasks_are_not_glues(tmp_path: Path) -> None:
    """Whatever their names are: values are kept, classes are named."""
    values = Task("stsb", ("a",), (), ("pearson",))
    assert write_submission(tmp_path, values, "test", [7.25]).read_text().splitlines()[1] == "0\t7.250"
    topics = Task("cola", ("a",), ("sport", "art"), ("accuracy",))
    path = write_submission(tmp_path, topics, "test", [1])
    assert (path.name, path.read_text().splitlines()[1]) == ("cola-test.tsv", "0\tart")


def test_submissions_by_hand(tmp_path: Path) -> None:
    path = write_submission(tmp_path, TASKS["mnli"], "test_mismatched", [2, 0])
    assert path.name == "MNLI-mm.tsv"
    assert path.read_text() == "index\tprediction\n0\tcontradiction\n1\tentailment\n"
    path = write_submission(tmp_path, TASKS["stsb"], "test", [5.2, -1.0, 2.3456])
    assert path.read_text() == "index\tprediction\n0\t5.000\n1\t0.000\n2\t2.346\n"
    path = write_submission(tmp_path, TASKS["cola"], "test", [1, 0])
    assert path.read_text() == "index\tprediction\n0\t1\n1\t0\n"
