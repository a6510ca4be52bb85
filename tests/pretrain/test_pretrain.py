"""Pre-training through the command line: learned, loaded, stopped, killed, continued, refused."""

import inspect
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers
import yaml
from nn_samples import positions_of
from runs import HYBRID, arguments, figures, same, weights
from safetensors.torch import load_file, save_file

from autobert_zero import zoo
from autobert_zero.cli.pretrain import pretrain_command, pretrain_settings
from autobert_zero.data.batches import TrainingBatches
from autobert_zero.data.masking import MaskedBatch
from autobert_zero.errors import UserError
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.pretrain import model as models
from autobert_zero.pretrain import run as module
from autobert_zero.pretrain import training
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.pretrain.folder import read_pretrain_config, settings_input
from autobert_zero.pretrain.log import read_log
from autobert_zero.pretrain.presets import demo_pretraining
from autobert_zero.run_folder import read_record
from autobert_zero.search.config import read_search_config
from autobert_zero.settings import resolve
from autobert_zero.training import checkpoint
from autobert_zero.training import goal as goals
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import train as train_loop


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpus_file: Path) -> Path:
    """A training that nobody stopped; not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = tiny.command(*arguments(corpus_file, out))
    assert done.code == 0, done.err
    first = done.log.splitlines()
    assert "corpus.txt: 150 documents, " in first[0]
    assert "% [UNK]; vocabulary of " in first[0]
    assert any("parameters; seed 0" in line for line in first[:4])
    assert any(line.startswith("device cpu") for line in first[:5])
    assert any(line.startswith("estimate: ") for line in first[:6])
    assert done.out.startswith("held-out loss ")
    return out


def stopped_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets trainings stop after a step, as if by Ctrl-C."""

    def train(*given: Any, **options: Any) -> float:
        on_step = given[4]

        def watched(now: int, loss: float) -> None:
            if now == step:
                signal.raise_signal(signal.SIGINT)
            on_step(now, loss)

        model, batches, recipe, objective, _, *rest = given
        return train_loop(model, batches, recipe, objective, watched, *rest, **options)

    monkeypatch.setattr(training, "train", train)


def test_the_folder(whole: Path) -> None:
    loaded = transformers.AutoModelForMaskedLM.from_pretrained(whole)
    tokenizer = transformers.AutoTokenizer.from_pretrained(whole)
    assert loaded.config.backbone == HYBRID.split("\n")
    assert loaded.config.max_position_embeddings == 32
    encoded = tokenizer("abc", "def")["token_type_ids"]
    assert encoded[0] == 0
    assert encoded[-1] == 1
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["steps"] == 12
    assert summary["tokens"] == 7 * 4 * 16 + 5 * 4 * 32
    assert summary["parameters"] == sum(p.numel() for p in loaded.parameters())
    assert [line["step"] for line in read_log(whole) if "loss" in line] == [2, 4, 6, 7, 8, 10, 12]
    assert [line["step"] for line in read_log(whole) if "validation_loss" in line] == [6, 7, 12]
    assert list((whole / "tensorboard").iterdir())
    assert {path.name for path in (whole / "checkpoints").iterdir()} == {"00000009", "00000012"}


def test_it_learns(corpus_file: Path, tmp_path: Path) -> None:
    longer = "phases=[{steps: 150, length: 16, batch_size: 8}]"
    rest = ("recipe.learning_rate=0.01", "model.dropout=0", "report.checkpoint_every=100")
    assert tiny.command(*arguments(corpus_file, tmp_path / "out", longer, *rest)).code == 0
    losses = [line["loss"] for line in read_log(tmp_path / "out") if "loss" in line]
    assert losses[-1] < losses[0] - 0.4  # the words are drawn alike: there is little to learn


@pytest.mark.parametrize("stop_after", [1, 4, 7, 9, 11])
def test_stopped_and_continued_is_the_same(
    whole: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stopped_at(stop_after, patch)
        done = tiny.command(*arguments(corpus_file, out))
    assert done.code == 130
    assert f"--out {out} --resume" in done.err
    assert (out / "checkpoints" / f"{stop_after:08}").is_dir()
    assert tiny.command("pretrain", "--out", out, "--resume").code == 0
    assert same(whole, out)
    assert figures(out) == figures(whole)


def test_a_damaged_checkpoint_falls_back(whole: Path, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert tiny.command(*arguments(corpus_file, out)).code == 0
    for name in ("summary.json", "model.safetensors"):
        (out / name).unlink()
    (out / "checkpoints" / "00000012" / "optimizer.safetensors").write_bytes(b"damaged")
    done = tiny.command("pretrain", "--out", out, "--resume")
    assert done.code == 0
    assert "is damaged" in done.log
    assert "resuming after 9 of 12 steps" in done.log
    assert same(whole, out)
    for place in (out / "checkpoints").iterdir():
        (place / "checkpoint.json").write_text("{")
    (out / "summary.json").unlink()
    assert "every checkpoint" in tiny.command("pretrain", "--out", out, "--resume").err


def test_a_damaged_summary_is_named_and_can_be_made_again(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    path = out / "summary.json"
    before = json.loads(path.read_text())
    for damage, message in (
        ("{}", "is damaged (holdout_loss is missing); delete it and --resume"),
        (json.dumps(before | {"seconds": None}), "is damaged (seconds is None); delete it and --resume"),
        (json.dumps(before | {"tokens": "many"}), "is damaged (tokens is 'many'); delete it and --resume"),
        (json.dumps(before | {"holdout_mlm_accuracy": None}), "is damaged (holdout_mlm_accuracy is None)"),
        ("[]", "is not a JSON object"),
    ):
        path.write_text(damage)
        done = tiny.command("pretrain", "--out", out, "--resume")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"{path} {message}" in done.err
    path.unlink()
    assert tiny.command("pretrain", "--out", out, "--resume").code == 0
    assert json.loads(path.read_text())["holdout_loss"] == before["holdout_loss"]


def test_a_full_disk_leaves_the_checkpoint_before_it(
    whole: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def full(tensors: Any, path: Path) -> None:
        nonlocal count
        count += 1
        if count == 4:  # the optimiser's memory of the second checkpoint
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    out = tmp_path / "out"
    done = tiny.command(*arguments(corpus_file, out))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "checkpoint of step 6" in done.err
    assert "the one of step 3 is whole" in done.err
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["00000003"]
    monkeypatch.setattr(checkpoint, "save_file", save_file)
    assert tiny.command("pretrain", "--out", out, "--resume").code == 0
    assert same(whole, out)


@pytest.mark.parametrize("step", [1, 5])
def test_full_memory_is_one_line(
    whole: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Before the first checkpoint the folder is free again; after it the training can go on."""
    calls = 0

    def objective(*given: Any) -> Any:
        inner = language_objective(*given)

        def greedy(*parts: Any) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls == step:
                raise RuntimeError(
                    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
                )
            return inner(*parts)

        return greedy

    monkeypatch.setattr(goals, "language_objective", objective)
    out = tmp_path / "out"
    done = tiny.command(*arguments(corpus_file, out))
    assert (done.code, done.err.count("error: memory is full")) == (2, 1)
    assert "batch_size" in done.err
    monkeypatch.setattr(goals, "language_objective", language_objective)
    if step == 1:
        assert tiny.command(*arguments(corpus_file, out)).code == 0
    else:
        assert "step 4 is saved" in done.err
        assert tiny.command("pretrain", "--out", out, "--resume").code == 0
    assert same(whole, out)


def test_text_that_cannot_be_read_on_costs_no_step(
    whole: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TrainingBatches.batches_from

    def broken(self: TrainingBatches, step: int) -> Iterator[MaskedBatch]:
        for number, batch in enumerate(real(self, step)):
            if number == 5:
                raise UserError("the connection was lost")
            yield batch

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(TrainingBatches, "batches_from", broken)
        done = tiny.command(*arguments(corpus_file, out))
    assert (done.code, done.err) == (2, "error: the connection was lost\n")
    assert (out / "checkpoints" / "00000005").is_dir()
    assert tiny.command("pretrain", "--out", out, "--resume").code == 0
    assert same(whole, out)


def test_divergence_names_the_step_and_keeps_the_state(corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = tiny.command(*arguments(corpus_file, out, "recipe.learning_rate=0.99", "recipe.clip=1e9"))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "diverged: loss" in done.err
    assert "step" in done.err
    (kept,) = (out / "diverged").iterdir()
    assert load_file(kept / "model.safetensors").keys() >= {"bias"}


def test_next_sentences_whole_words_and_memory_for_time(corpus_file: Path, tmp_path: Path) -> None:
    # In bf16, where the processor has it, sums in another order differ by more.
    more = ("data.next_sentence=true", "data.whole_words=true", "model.dropout=0", "precision=fp32")
    plain, spared = tmp_path / "plain", tmp_path / "spared"
    assert tiny.command(*arguments(corpus_file, plain, *more)).code == 0
    saving = ("recipe.gradient_checkpointing=true", "recipe.accumulation=2")
    assert tiny.command(*arguments(corpus_file, spared, *more, *saving)).code == 0
    assert json.loads((plain / "config.json").read_text())["architectures"] == ["AutoBertZeroForPreTraining"]
    one, other = weights(plain), weights(spared)
    assert "seq_relationship.weight" in one
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)
    assert "nsp_accuracy" in read_log(plain)[-1]


def test_isolated_documents_learn_something_else(whole: Path, corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert tiny.command(*arguments(corpus_file, out, "data.isolated=true")).code == 0
    assert not same(whole, out)


def test_streaming_continues_where_it_was(
    corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autobert_zero.data import streaming
    from autobert_zero.pretrain import text

    monkeypatch.setattr(streaming.StreamingBatches.__init__, "__defaults__", (20,))
    monkeypatch.setattr(text, "first_block", lambda source: streaming.first_block(source, 20))
    one, other = tmp_path / "one", tmp_path / "other"
    assert tiny.command(*arguments(corpus_file, one, "data.streaming=true")).code == 0
    asked = ("data.streaming=true", "report.checkpoint_every=5")
    assert tiny.command(*arguments(corpus_file, other, *asked)).code == 0
    for name in ("summary.json", "model.safetensors"):
        (other / name).unlink()
    for place in sorted((other / "checkpoints").iterdir())[1:]:
        (place / "model.safetensors").unlink()
    done = tiny.command("pretrain", "--out", other, "--resume")
    assert "resuming after 10 of 12" in done.log
    assert same(one, other)


def test_from_the_shared_weights_of_a_search(finished_run: Path, tmp_path: Path, corpus_file: Path) -> None:
    out = tmp_path / "out"
    common = ("--set", "phases=[{steps: 2, length: 24, batch_size: 4}]", "--out", out)
    done = tiny.command("pretrain", "--start", finished_run, *common)
    assert done.code == 0, done.err
    config = read_pretrain_config(out)
    assert (out / "tokenizer.json").exists()
    model = models.new_model(config, weights(out)["encoder.embeddings.token.weight"].shape[0])
    newest = sorted((finished_run / "bank").glob("*.safetensors"))[-1]
    bank = load_file(newest)
    name = "encoder.layers.0.feed_forward.up.weight"
    assert torch.equal(model.state_dict()[name], bank[name])
    positions = positions_of(model.encoder.embeddings)
    assert torch.equal(positions[:16], bank["encoder.embeddings.position.weight"])
    refused = tiny.command(
        *("pretrain", "--start", finished_run, "--backbone", "bert", "--layers", 3, "--out", tmp_path / "no")
    )
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "layers 2, not 3" in refused.err
    for options, message in (
        (("--start", tmp_path / "typo"), "does not exist; check the path"),
        (("--start", finished_run, "--tokenizer", "other.json"), "leave data.tokenizer out"),
    ):
        refused = tiny.command("pretrain", *options, "--out", tmp_path / "no")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert message in refused.err


SHORT = ("--set", "phases=[{steps: 2, length: 16, batch_size: 4}]")


def test_the_backbone_of_a_run_brings_what_it_was_found_with(
    finished_run: Path, whole: Path, tmp_path: Path
) -> None:
    for run, corpus in ((finished_run, read_search_config(finished_run).data.corpus), (whole, None)):
        out = tmp_path / f"from {run.parent.name}"
        done = tiny.command("pretrain", "--backbone", run, "--out", out, *SHORT)
        assert done.code == 0, done.err
        config = read_pretrain_config(out)
        assert (config.model.width, config.model.heads, config.data.vocab_size) == (16, 2, 200)
        assert corpus is None or config.data.corpus == corpus
        assert done.log.count(f"as in {run}: data.corpus") == 1
        assert "data.vocab_size 200, model.width 16, model.heads 2" in done.log


def test_a_stack_takes_nothing_over_from_a_folder_of_its_name(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bert").symlink_to(finished_run)
    monkeypatch.chdir(tmp_path)
    options = dict.fromkeys(inspect.signature(pretrain_command).parameters) | {"preset": "demo"}
    config = pretrain_settings(options | {"backbone": "bert"})
    assert config == demo_pretraining(zoo.bert(4))


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("backbone: [conv 3]", (), "corpus 'no.txt' does not exist"),
        ("", ("--set", "backbone=[conv 3]"), "corpus 'no.txt' does not exist"),
        ("start: no/model", (), "model 'no/model' is not on this disk"),
        ("distil: {teacher: no/model}", (), "name a backbone with --backbone"),
        ("backbone: [conv 3]", ("--layers", 3), "--layers is for a stack of --backbone"),
        ("backbone: [conv 4]", (), "config: backbone: line 1: a convolution has a kernel"),
        ("backbone: conv 3", (), "config: backbone: input should be a valid list"),
        ("start: 3", (), "config: start: input should be a valid string"),
    ],
)
@pytest.mark.usefixtures("cache")
def test_what_is_needed_may_be_in_the_file(
    tmp_path: Path,
    content: str,
    arguments: tuple[object, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = tmp_path / "mine.yaml"
    config.write_text(content)
    given = ("--config", config, "--corpus", "no.txt", "--out", tmp_path / "out", *arguments)
    done = tiny.command("pretrain", *given)
    assert done.code == 2
    assert message in done.err


def test_the_file_of_a_training_trains_again(whole: Path, finished_run: Path, tmp_path: Path) -> None:
    """Its backbone is not that of the preset; an option counts before it."""
    options = {"preset": "demo", "resume": False, "config": whole / "pretrain.yaml"}
    options |= dict.fromkeys(("backbone", "layers", "start", "corpus", "set_", "seed"))
    options |= dict.fromkeys(("text_column", "tokenizer", "device"))
    assert pretrain_settings(options, "pretrain") == read_pretrain_config(whole)
    assert pretrain_settings(options | {"backbone": "conv 9"}, "pretrain").backbone == ("conv 9",)
    partial = tmp_path / "mine.yaml"
    partial.write_text(f"start: {finished_run}\n")
    config = pretrain_settings(options | {"config": partial, "backbone": "bert", "layers": 2}, "pretrain")
    assert (config.start, config.model.width) == (str(finished_run), 16)


def test_what_is_said_counts_before_the_run(finished_run: Path, corpus_file: Path, tmp_path: Path) -> None:
    """The file of settings and --set too; another corpus is not read as the run's was."""
    config, out, books = tmp_path / "config.yaml", tmp_path / "out", tmp_path / "books.txt"
    config.write_text("model: {heads: 4}\n")
    shutil.copy(corpus_file, books)
    given = ("--backbone", finished_run, "--config", config, "--corpus", books, "--set", "model.width=8")
    done = tiny.command("pretrain", *given, "--out", out, *SHORT)
    assert done.code == 0, done.err
    used = read_pretrain_config(out)
    assert (used.model.width, used.model.heads, used.data.corpus) == (8, 4, str(books))
    assert "other than there: model.width 8 (there 16), model.heads 4 (there 2)" in done.log


def test_a_preset_of_certain_sizes_keeps_them(finished_run: Path) -> None:
    done = tiny.command(
        "plan", "pretrain", "--backbone", finished_run, "--preset", "base", "--hardware", "a100"
    )
    assert done.code == 0, done.err
    assert "batches of 256 x 128" in done.out
    parameters = int(done.out.split(" parameters")[0].replace(",", ""))
    assert parameters > 768 * 30522


def test_it_goes_on_without_the_search_it_started_from(finished_run: Path, tmp_path: Path) -> None:
    search, out = tmp_path / "search", tmp_path / "out"
    shutil.copytree(finished_run, search)
    common = ("--set", "phases=[{steps: 2, length: 24, batch_size: 4}]", "--set", "report.checkpoint_every=1")
    assert tiny.command("pretrain", "--start", search, *common, "--out", out).code == 0
    before = weights(out)
    for name in ("summary.json", "model.safetensors"):
        (out / name).unlink()
    shutil.rmtree(search)
    done = tiny.command("pretrain", "--out", out, "--resume")
    assert done.code == 0, done.err
    assert all(torch.equal(value, before[name]) for name, value in weights(out).items())


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("change", ["a letter changed", "a file came", "a file went"])
def test_other_text_is_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool, change: str
) -> None:
    from autobert_zero.data import streaming as streams
    from autobert_zero.pretrain import text

    monkeypatch.setattr(streams.StreamingBatches.__init__, "__defaults__", (20,))
    monkeypatch.setattr(text, "first_block", lambda source: streams.first_block(source, 20))
    books, out = tmp_path / "books", tmp_path / "out"
    books.mkdir()
    for number in range(3):
        (books / f"{number}.txt").write_text("\n".join(tiny.paragraphs(150, seed=number)))
    with monkeypatch.context() as patch:
        stopped_at(4, patch)
        given = arguments(books, out, f"data.streaming={str(streaming).lower()}")
        assert tiny.command(*given).code == 130
    kept = {path.name: path.read_bytes() for path in books.iterdir()}
    last = books / "2.txt"
    if change == "a letter changed":  # far from the first block of a stream, and the size stays
        last.write_text(last.read_text()[:-2] + "?\n")
    elif change == "a file came":
        (books / "3.txt").write_text("another line of text\n" * 9)
    else:
        last.unlink()
    before = tiny.contents(out)
    done = tiny.command("pretrain", "--out", out, "--resume")
    assert (done.code, done.err.count("\n")) == (2, 1)
    what = "files of text" if streaming and change == "a letter changed" else "text"
    assert f"{out} was started on other {what}: {books} was " in done.err
    assert tiny.contents(out) == before
    for path in books.iterdir():
        path.unlink()
    for name, content in kept.items():
        (books / name).write_bytes(content)
    assert tiny.command("pretrain", "--out", out, "--resume").code == 0


def test_the_folder_says_how_it_was_started(whole: Path, corpus_file: Path) -> None:
    record = read_record(whole)
    assert record is not None
    assert record.kind == "pre-training"
    assert record.inputs["text"].name == str(corpus_file)
    assert "--backbone" in record.sessions[0]["command"]
    assert {path.stat().st_mode & 0o777 for path in whole.glob("*.safetensors")} == {
        (whole / "summary.json").stat().st_mode & 0o777
    }


def test_an_earlier_runs_settings_are_known_again(tmp_path: Path) -> None:
    """It wrote the section `data` as `text`; its corpus may have moved, other settings may not differ."""
    config = PretrainConfig(backbone=("conv 3",))
    digests = []
    for text in ("{corpus: a, cased: true}", "{corpus: b, cased: true}", "{corpus: a, cased: false}"):
        (tmp_path / "pretrain.yaml").write_text(f"backbone: [conv 3]\ntext: {text}\n")
        digests.append(settings_input(config, tmp_path).identity)
    assert digests[0] == digests[1] != digests[2]


def test_a_training_inside_its_corpus_does_not_read_itself(
    whole: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books, out = tmp_path / "books", tmp_path / "books" / "out"
    books.mkdir()
    shutil.copy(corpus_file, books)
    with monkeypatch.context() as patch:
        stopped_at(9, patch)
        assert tiny.command(*arguments(books, out)).code == 130
    assert tiny.command("pretrain", "--out", out, "--resume").code == 0
    assert same(whole, out)


def test_a_start_that_did_not_succeed_can_be_repeated(
    whole: Path, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other settings, too: nothing is left over from the first one."""
    out = tmp_path / "out"

    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_announcement", killed)
        assert tiny.command(*arguments(corpus_file, out, "data.vocab_size=150")).code == 130
    assert (out / "tokenizer.json").exists()
    assert tiny.command(*arguments(corpus_file, out)).code == 0
    assert same(whole, out)


def test_a_backbone_that_is_named_counts_before_the_files(tmp_path: Path, corpus_file: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("backbone: [conv 3, conv 3]\n")
    given = arguments(corpus_file, tmp_path / "out")
    assert tiny.command(*given, "--config", config).code == 0
    assert list(read_pretrain_config(tmp_path / "out").backbone) == HYBRID.split("\n")


def test_ctrl_c_before_there_is_a_training(
    tmp_path: Path, corpus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "open_text", stopped)
    done = tiny.command(*arguments(corpus_file, tmp_path / "out"))
    assert (done.code, done.err) == (130, "stopped; nothing was trained yet: give the same call again\n")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("phases=[]", "phases: "),
        ("phases=[{steps: 3, lenght: 8}]", "unknown key phases.0.lenght"),
        ("recipe.accumulation=3", "cannot be divided evenly"),
        ("data.whole_word=true", "unknown key data.whole_word"),
        ("backbone=[softmax(Q @ K) @ V]", "matmul expects"),
    ],
)
def test_bad_settings_are_one_line(corpus_file: Path, tmp_path: Path, setting: str, message: str) -> None:
    out = tmp_path / "out"
    done = tiny.command(*arguments(corpus_file, out, setting))
    assert done.code == 2
    assert message in done.err
    assert not out.exists()


def test_both_of_two_that_exclude_each_other(corpus_file: Path, tmp_path: Path) -> None:
    done = tiny.command(
        *arguments(corpus_file, tmp_path / "out", "data.isolated=true", "data.next_sentence=true")
    )
    assert "exclude each other" in done.err


def test_folders_that_cannot_be_used(whole: Path, corpus_file: Path, tmp_path: Path) -> None:
    assert "holds a pre-training already" in tiny.command(*arguments(corpus_file, whole)).err
    assert "holds no pre-training" in tiny.command("pretrain", "--out", tmp_path, "--resume").err
    assert "give --resume and --out only" in tiny.command(*arguments(corpus_file, whole), "--resume").err
    assert "is finished already" in tiny.command("pretrain", "--out", whole, "--resume").log


@pytest.mark.parametrize(
    "change", ["seed: 0>seed: 1", "steps: >steps: 1", "learning_rate: 0.>learning_rate: 0.1"]
)
def test_settings_that_were_edited(whole: Path, tmp_path: Path, change: str) -> None:
    """Whether the training is finished or not: its model would not be that of the config."""
    out = shutil.copytree(whole, tmp_path / "out")
    config = out / "pretrain.yaml"
    before, after = change.split(">")
    config.write_text(config.read_text().replace(before, after, 1))
    for _ in range(2):
        held = tiny.contents(out)
        done = tiny.command("pretrain", "--out", out, "--resume")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "was started on other settings: pretrain.yaml was " in done.err
        assert tiny.contents(out) == held
        (out / "summary.json").unlink(missing_ok=True)


def test_what_may_be_edited_and_a_model_that_was_deleted(whole: Path, tmp_path: Path) -> None:
    """Of a run whose text has moved, and which goes on elsewhere; its model is written again."""
    out = shutil.copytree(whole, tmp_path / "out")
    config = yaml.safe_load((out / "pretrain.yaml").read_text())
    config["data"]["corpus"] = str(shutil.copy(config["data"]["corpus"], tmp_path / "moved.txt"))
    config["device"], config["report"]["log_every"] = "cpu", 7
    (out / "pretrain.yaml").write_text(yaml.safe_dump(config))
    (out / "model.safetensors").unlink()
    done = tiny.command("pretrain", "--out", out, "--resume")
    assert done.code == 0, done.err
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_the_config_survives_its_file(whole: Path) -> None:
    config = read_pretrain_config(whole)
    assert resolve(config, {}) == config
    assert isinstance(config, PretrainConfig)
    assert config.positions == 32


def test_the_model_is_a_function_of_the_seed() -> None:
    config = PretrainConfig(backbone=("conv 3",))
    one, same_seed, other = (
        models.new_model(config.model_copy(update={"seed": seed}), 50) for seed in (0, 0, 1)
    )
    assert all(map(torch.equal, one.parameters(), same_seed.parameters()))
    assert not all(map(torch.equal, one.parameters(), other.parameters()))
    assert isinstance(one, MaskedLM)
    assert one.encoder.config == EncoderConfig(50, 64, 4, max_positions=128)


def test_the_time_is_that_of_all_steps(corpus_file: Path, tmp_path: Path) -> None:
    """Also of those between the last line of the log and an evaluation or a checkpoint."""
    out = tmp_path / "out"
    odd = ("report.log_every=5", "report.evaluate_every=4", "report.checkpoint_every=4")
    slow = ("phases=[{steps: 20, length: 32, batch_size: 16}]",)
    assert tiny.command(*arguments(corpus_file, out, *odd, *slow)).code == 0
    logged = [line for line in read_log(out) if "tokens_per_second" in line]
    told = json.loads((out / "summary.json").read_text())["seconds"]
    assert told == pytest.approx(sum(5 * 16 * 32 / line["tokens_per_second"] for line in logged))
    kept = [json.loads(path.read_text()) for path in sorted((out / "checkpoints").glob("*/*.json"))]
    assert [each["step"] for each in kept] == [16, 20]
    assert 0.5 * told < kept[0]["seconds"] < told


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU])
def test_a_real_signal_while_nobody_reads(corpus_file: Path, tmp_path: Path, number: signal.Signals) -> None:
    """A scheduler's signal, after the pipes of output and errors have been closed."""
    out = tmp_path / "out"
    long = ("phases=[{steps: 100000, length: 16, batch_size: 4}]", "report.evaluate_every=5")
    command = [sys.executable, "-m", "autobert_zero.cli", *map(str, arguments(corpus_file, out, *long))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"validation loss" in b"".join(process.stderr.readline() for _ in range(20))
    process.stdout.close()
    process.stderr.close()
    before = max(line["step"] for line in read_log(out))
    while max(line["step"] for line in read_log(out)) < before + 20:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=60) == 130
    newest = max(int(path.name) for path in (out / "checkpoints").iterdir())
    assert newest >= max(line["step"] for line in read_log(out))
