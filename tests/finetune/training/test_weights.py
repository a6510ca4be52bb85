"""What a fine-tuning leaves: a model that other tools take, whose weights are those of the reported score."""

import json
import shutil
from pathlib import Path
from typing import Any

import hf_samples
import pytest
import tiny
import transformers
from huggingface_hub import ModelCard
from safetensors import SafetensorError
from transformers import AutoTokenizer, BertForMaskedLM, PreTrainedModel

from autobert_zero.export import export
from autobert_zero.files import write_text
from autobert_zero.finetune import suite
from autobert_zero.finetune.training import sweep
from autobert_zero.finetune.training.weights import saved_weights

RATES = ("--rates", "1e-3,1e-2", "--seeds", 2, "--epochs", 1, "--batch-size", 16, "--set", "steps=3")


def finetune(model: Path, data: Path, out: Path, *more: object) -> tiny.Finished:
    given = ("finetune", "--model", model, "--data", data, "--out", out, *RATES)
    task = () if "--task" in more else ("--task", "sst2")
    return tiny.command(*given, *task, *more)


def accuracy(folder: Path, data: Path, split: str = "validation") -> float:
    """Of the model in a folder, as the pipeline of `transformers` gives its labels by name."""
    classify = transformers.pipeline("text-classification", str(folder))
    lines = (data / f"{split}.jsonl").read_text().splitlines()
    examples = [json.loads(line) for line in lines]
    said = classify([example["sentence"] for example in examples])
    names = ("negative", "positive")
    right = [answer["label"] == names[each["label"]] for answer, each in zip(said, examples, strict=True)]
    return sum(right) / len(right)


@pytest.fixture(scope="module")
def tuned(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "out"
    done = finetune(model, data, out)
    assert done.code == 0, done.err
    return out


def results(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((out / "runs").glob("*.json"))]


def test_the_folder_is_a_model_with_the_score_that_is_reported(tuned: Path, data: Path) -> None:
    config = json.loads((tuned / "config.json").read_text())
    assert config["architectures"] == ["AutoBertZeroForSequenceClassification"]
    assert config["problem_type"] == "single_label_classification"
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert config["label2id"] == {"negative": 0, "positive": 1}
    assert AutoTokenizer.from_pretrained(tuned).model_max_length == 20  # the model's positions
    best = max(results(tuned), key=lambda run: run["metrics"]["validation"]["accuracy"])
    assert json.loads((tuned / "score.json").read_text())["best_seed"] == best["seed"]
    assert saved_weights(tuned) == best["weights"]
    assert accuracy(tuned, data) == best["metrics"]["validation"]["accuracy"]


def test_the_card_has_scores_and_settings(tuned: Path, model: Path, data: Path) -> None:
    card = ModelCard.load(tuned / "README.md")
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.license == "apache-2.0"
    results = card.data.eval_results
    assert [(each.dataset_name, each.dataset_split, each.metric_type) for each in results] == [
        ("sst2", "validation", "accuracy"),
        ("sst2", "test", "accuracy"),
    ]
    assert results[1].metric_value == round(accuracy(tuned, data, "test"), 4)
    for part in ("| sst2 | accuracy | ", "negative, positive", "256 training examples", "epochs: 1"):
        assert part in card.text
    assert str(model) not in card.content


@pytest.mark.slow
def test_it_is_exported_with_its_head(tuned: Path, tmp_path: Path) -> None:
    export(tuned, tmp_path / "exported", programs=())
    config = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert "AutoModelForSequenceClassification" in config["auto_map"]
    card = (tmp_path / "exported" / "README.md").read_text()
    assert "Fine-tuned on sst2" in card
    assert "accuracy" in card


@pytest.mark.parametrize(("keep", "folders"), [("none", 0), ("all", 3)])
def test_what_is_kept_can_be_chosen(model: Path, data: Path, tmp_path: Path, keep: str, folders: int) -> None:
    out = tmp_path / "out"
    assert finetune(model, data, out, "--keep", keep).code == 0
    runs = results(out)
    assert len(runs) == 3
    kept_ones = [path for path in (out / "runs").iterdir() if path.is_dir()]
    assert len(kept_ones) == folders
    assert (out / "model.safetensors").exists() == (keep == "all") == (out / "README.md").exists()
    if keep == "all":
        folder = {(run["seed"], run["rate"]): run["weights"] for run in runs}
        assert {saved_weights(path) for path in kept_ones} == set(folder.values())
        # Later the best only: the others' weights go.
        assert finetune(model, data, out).code == 0
        assert [path.parent for path in out.rglob("*.safetensors")] == [out]
        # Then none: what is left is what `--keep none` alone leaves.
        score = (out / "score.json").read_text()
        done = finetune(model, data, out, "--keep", "none")
        assert done.code == 0, done.err
        assert "trained again" not in done.log
        left = {path.name for path in out.iterdir()}
        assert left == {
            *("run.json", "finetune.json", "trivial.json", "score.json", "runs", ".lock"),
            "SST-2.tsv",
        }
        assert not [path for path in (out / "runs").iterdir() if path.is_dir()]
        assert (out / "score.json").read_text() == score
        return
    # Weights that are asked for later are trained again, and only the best's.
    again = finetune(model, data, out)
    assert again.code == 0
    assert again.log.count("so it is trained again") == 1
    best = max(results(out), key=lambda run: run["metrics"]["validation"]["accuracy"])
    assert saved_weights(out) == best["weights"]


def test_weights_that_are_lost_or_others_are_trained_again(
    tuned: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(tuned, out)
    for damage in (
        lambda: (out / "model.safetensors").unlink(),
        lambda: shutil.copy(model / "model.safetensors", out),
        lambda: (out / "config.json").unlink(),
    ):
        damage()
        done = finetune(model, data, out)
        assert done.code == 0
        assert done.log.count("so it is trained again") == 1
        assert saved_weights(out) == saved_weights(tuned)
    assert "trained again" not in finetune(model, data, out).log


def test_a_kill_between_weights_and_score_loses_nothing(
    tuned: Path, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights come first: wherever it stops, no score stands without them."""
    out = tmp_path / "out"

    def killed(path: Path, text: str) -> None:
        if path.name == "score.json":
            raise KeyboardInterrupt
        write_text(path, text)

    monkeypatch.setattr(suite, "write_text", killed)
    assert finetune(model, data, out).code == 130
    assert saved_weights(out) == saved_weights(tuned)
    monkeypatch.setattr(suite, "write_text", write_text)
    monkeypatch.setattr(sweep, "finetune_once", None)  # nothing is trained twice
    assert finetune(model, data, out).code == 0
    assert saved_weights(out) == saved_weights(tuned)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), SafetensorError("IoError: os error 28")]
)
def test_a_full_disk_leaves_no_score_and_no_half_weights(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    out = tmp_path / "out"
    real = PreTrainedModel.save_pretrained

    def full(self: PreTrainedModel, folder: Path, **options: object) -> None:
        real(self, folder, **options)
        raise error

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", full)
    done = finetune(model, data, out)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "make room, then give the same call again" in done.err
    assert list((out / "runs").iterdir()) == []
    monkeypatch.undo()
    assert finetune(model, data, out).code == 0


def test_a_full_disk_at_the_last_copy(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("autobert_zero.finetune.training.weights.shutil.copyfile", full)
    done = finetune(model, data, tmp_path / "out", "--keep", "all")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "make room, then give the same call again" in done.err
    assert not (tmp_path / "out" / "score.json").exists()
    monkeypatch.undo()
    assert finetune(model, data, tmp_path / "out", "--keep", "all").code == 0


def test_a_bert_is_kept_too(model: Path, data: Path, tmp_path: Path) -> None:
    bert = tmp_path / "bert"
    shutil.copytree(model, bert)
    BertForMaskedLM(hf_samples.bert_config()).save_pretrained(bert)
    (bert / "README.md").write_text("---\nlicense: mit\n---\n\n# A BERT\n")
    out = tmp_path / "out"
    done = finetune(bert, data, out, "--seeds", 1)
    assert done.code == 0, done.err
    assert (
        accuracy(out, data) == json.loads((out / "score.json").read_text())["mean"]["validation"]["accuracy"]
    )
    card = ModelCard.load(out / "README.md")
    assert card.data.license == "mit"
    assert "autobert_zero" not in card.text


@pytest.mark.parametrize("given", [("--keep", "some"), ("--set", "keep=some")])
def test_an_unknown_word(model: Path, data: Path, tmp_path: Path, given: tuple[str, str]) -> None:
    done = finetune(model, data, tmp_path / "out", *given)
    assert done.code == 2
    assert "best" in done.err
    assert not (tmp_path / "out").exists()


def test_a_tuned_model_is_tuned_further(tuned: Path, data: Path, tmp_path: Path) -> None:
    """A head for other classes starts with new weights, the encoder goes on."""
    task = tmp_path / "stars.yaml"
    task.write_text("columns: [sentence]\nlabels: [one, two, three]\nmetrics: [accuracy]\n")
    words = ["one", "two", "three"]
    rows = [json.dumps({"sentence": f"it was {words[i % 3]}", "label": words[i % 3]}) for i in range(12)]
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows))
    out = tmp_path / "out"
    done = finetune(tuned, tmp_path, out, "--task", task)
    assert done.code == 0, done.err
    config = json.loads((out / "config.json").read_text())
    assert list(config["id2label"].values()) == words
