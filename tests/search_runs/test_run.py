"""Whole runs through the command line: what they leave, and that stopping them changes nothing."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from filelock import FileLock
from safetensors.torch import load_file
from tokenizers import Tokenizer

from autobert_zero import cost
from autobert_zero.data.batches import evaluation_batches
from autobert_zero.data.masking import Vocabulary
from autobert_zero.nn import MaskedLM
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.history import History
from autobert_zero.search_runs import proxy_evaluator, run, snapshots
from autobert_zero.search_runs.prepare import prepare
from autobert_zero.search_runs.proxy_evaluator import ProxyEvaluator
from autobert_zero.search_runs.snapshots import SnapshotWriter
from autobert_zero.settings import read_yaml, resolve
from autobert_zero.space import Backbone
from autobert_zero.training import scratch
from autobert_zero.training.language import evaluate
from autobert_zero.training.loop import Diverged, train
from autobert_zero.training.scratch import Job, JobResult
from autobert_zero.zoo import STACKS

FILES = {
    *(
        ".lock",
        "artifacts",
        "bank",
        "best.json",
        "best.txt",
        "config.yaml",
        "final",
        "leaderboard.csv",
        "model.safetensors",
        "run.json",
    ),
    *(
        "seed_backbones.json",
        "speeds.json",
        "study.db",
        "summary.json",
        "summary.md",
        "tensorboard",
        "times.json",
        "tokenizer.json",
    ),
}
TIMES = {"seconds", "search_seconds", "tokens_per_second"}


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "leaderboard.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def summary(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())


def timeless(value: Any) -> Any:
    """Plain data without the times."""
    if isinstance(value, dict):
        return {key: timeless(part) for key, part in value.items() if key not in TIMES}
    return [timeless(part) for part in value] if isinstance(value, list) else value


def essence(out: Path) -> dict[str, Any]:
    """All that a run found, without the times that it took."""
    trials = History(f"sqlite:///{out / 'study.db'}").load()
    return {
        "leaderboard": timeless(rows(out)),
        "summary": timeless(summary(out)),
        "best": [(out / name).read_text() for name in ("best.txt", "best.json")],
        "trials": [(t.proposal, t.outcome.score, t.outcome.reason, dict(t.rescored)) for t in trials],
        "bank": {path.name: path.read_bytes() for path in (out / "bank").iterdir()},
        "final": {path.name: timeless(json.loads(path.read_text())) for path in (out / "final").iterdir()},
        "weights": (out / "model.safetensors").read_bytes(),
    }


def test_a_run_leaves_its_files_and_no_others(finished_run: Path) -> None:
    assert {path.name for path in finished_run.iterdir()} == FILES
    assert {path.name for path in (finished_run / "bank").iterdir()} == {
        "00000008.safetensors",
        "00000009.safetensors",
    }


def test_the_config_is_the_resolved_one(finished_run: Path, corpus_file: Path) -> None:
    written = resolve(SearchConfig(), read_yaml(finished_run / "config.yaml"))
    # The batch of latencies depends on the device: on a CPU it is one sequence.
    assert written == resolve(tiny.config(corpus_file), {"limits": {"latency_batch": 1}})


def test_the_summary_has_the_promised_keys(finished_run: Path) -> None:
    found = summary(finished_run)
    for name in ("best", "bert", "hybrid", "convolution"):
        model = found[name]
        assert len(model["backbone"]) == 2
        assert model["val_loss"] > 0
        assert 0 <= model["mlm_accuracy"] <= 1
        assert (model["parameters"] > 0, model["flops"] > 0, model["tokens_per_second"] > 0) == (True,) * 3
        assert model["tokens"] == 4 * 4 * 16
    for name in ("bert", "hybrid", "convolution"):
        assert found[name]["backbone"] == STACKS[name](2).to_list()
    assert (found["candidates"], found["seed"], found["statuses"]) == (9, 0, {"complete": 9})
    assert found["seconds"] >= found["search_seconds"] > 0
    assert len(found["screening"]) == 2
    losses = [row["selection_loss"] for row in found["screening"]]
    assert found["best"]["trial"] == found["screening"][losses.index(min(losses))]["trial"]


def test_the_leaderboard_has_a_row_for_every_candidate(finished_run: Path) -> None:
    table = rows(finished_run)
    assert sorted(int(row["trial"]) for row in table) == list(range(9))
    scores = [float(row["latest_score"]) for row in table]
    assert scores == sorted(scores, reverse=True)
    screened = {row["trial"] for row in summary(finished_run)["screening"]}
    assert screened == {int(row["trial"]) for row in table[:2]}


def test_the_best_backbone_is_in_both_files(finished_run: Path) -> None:
    best = Backbone.from_list(summary(finished_run)["best"]["backbone"])
    assert Backbone.parse((finished_run / "best.txt").read_text()) == best
    assert Backbone.from_json((finished_run / "best.json").read_text()) == best


def test_the_weights_load_and_have_the_reported_loss(finished_run: Path) -> None:
    prepared = prepare(resolve(SearchConfig(), read_yaml(finished_run / "config.yaml")))
    best = summary(finished_run)["best"]
    model = MaskedLM(Backbone.from_list(best["backbone"]), prepared.model)
    model.load_state_dict(load_file(finished_run / "model.safetensors"))
    result = evaluate(model, evaluation_batches(prepared.data.holdout, prepared.vocabulary, 8, 4096), "auto")
    assert result.loss == pytest.approx(best["val_loss"], rel=1e-5)
    assert result.accuracy == best["mlm_accuracy"]
    assert best["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert best["flops"] == cost.flops(model.encoder.backbone, prepared.model, 16)


def test_the_tokenizer_is_that_of_the_data(finished_run: Path) -> None:
    tokenizer = Tokenizer.from_file(str(finished_run / "tokenizer.json"))
    prepared = prepare(resolve(SearchConfig(), read_yaml(finished_run / "config.yaml")))
    assert tokenizer.to_str() == prepared.tokenizer.to_str()
    assert Vocabulary.of(tokenizer).size == prepared.model.vocab_size == 200


def test_rounds_are_rescored(finished_run: Path) -> None:
    """Populations of four, rounds of two: the contenders are scored anew before trials 4, 6 and 8."""
    trials = History(f"sqlite:///{finished_run / 'study.db'}").load()
    assert [len(trial.rescored) for trial in trials] == [0, 0, 0, 0, 4, 0, 4, 0, 4]
    assert [trial.proposal.round for trial in trials] == [0, 0, 0, 0, 1, 1, 2, 2, 3]


def test_a_run_is_a_function_of_its_config(finished_run: Path, settings_file: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    done = tiny.command("search", "--config", settings_file, "--out", again)
    assert done.code == 0
    assert essence(again) == essence(finished_run)
    assert tiny.command("search", "--config", settings_file, "--out", other, "--seed", 1).code == 0
    assert {row["key"] for row in rows(other)} != {row["key"] for row in rows(finished_run)}
    assert summary(other)["seed"] == 1
    # The standard output holds the summary and where everything is; one line for every candidate is a log.
    lines = done.log.splitlines()
    for trial in range(9):
        assert sum(line.startswith(f"    {trial} ") and " score " in line for line in lines) == 1
    assert done.out == (
        (again / "summary.md").read_text()
        + f"\neverything is in {again}; to look at it: autobert-zero report {again}\n"
    )
    assert done.err == ""


def test_the_first_lines_say_what_is_searched_on_what(settings_file: Path, tmp_path: Path) -> None:
    done = tiny.command("search", "--config", settings_file, "--out", tmp_path / "run", "--seed", 3)
    text, model, strategy, machine, estimate = done.log.splitlines()[:5]
    assert re.search(r"corpus\.txt: 150 documents, 3,136 tokens in sequences of 16 \(177 for training", text)
    assert text.endswith("% [UNK]; vocabulary of 200 tokens")
    assert "; tokenizer wordpiece: words between spaces, 16 different characters; 0.00% [UNK]" in text
    assert model.startswith("model of 2 layers, width 16, 2 heads, feed-forward 64")
    assert strategy == "strategy op-nas: 9 candidates of 3 steps each; seed 3"
    assert re.fullmatch(r"device cpu, threads: \d+; precision (fp32|bf16)", machine)
    assert re.fullmatch(r"estimate: [\d,]+ tokens, about \d+ seconds of training \(3 steps .*\)", estimate)


def stopping(function: Callable[..., Any], calls: Iterator[int], at: int) -> Callable[..., Any]:
    """The function, but its call number `at` is a Ctrl-C."""

    def stopped(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == at:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return stopped


# Where a Ctrl-C comes: at which call of which function. The first of each are enough for every day.
STOPS = [
    pytest.param(owner, name, at, id=f"{what} {at}", marks=[pytest.mark.slow] if place else [])
    for what, owner, name, calls in (
        ("segment of the warm-up", proxy_evaluator, "train", (1, 0)),
        ("candidate", ProxyEvaluator, "evaluate", (5, 8, 0, 1, 4)),
        ("re-scoring of parents", ProxyEvaluator, "rescore", (6,)),
        ("writing of a snapshot", snapshots, "save_file", (5, 0)),
        ("copy for a snapshot", SnapshotWriter, "save", (4,)),
        ("record after the snapshot", History, "append", (6, 0)),
        ("training from scratch", scratch, "train_from_scratch", (1, 4, 0, 2)),
        ("writing of weights", scratch, "save_file", (0,)),
        ("writing of the summary", run, "write_summary", (0,)),
    )
    for place, at in enumerate(calls)
]


@pytest.mark.parametrize(("owner", "name", "at"), STOPS)
def test_a_stopped_run_ends_as_the_uninterrupted_one(
    finished_run: Path, settings_file: Path, tmp_path: Path, owner: Any, name: str, at: int
) -> None:
    out = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, stopping(getattr(owner, name), count(), at))
        stopped = tiny.command("search", "--config", settings_file, "--out", out)
    assert stopped.code == 130
    assert stopped.err == f"stopped; continue with: autobert-zero search --out {out} --resume\n"
    resumed = tiny.command("search", "--resume", "--out", out)
    assert resumed.code == 0, resumed.err
    assert essence(out) == essence(finished_run)


def test_stopped_again_and_again(finished_run: Path, settings_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    arguments: list[object] = ["search", "--config", settings_file, "--out", out]
    for _ in range(20):
        with pytest.MonkeyPatch.context() as patch:
            stopped = stopping(ProxyEvaluator.evaluate, count(), 2)
            patch.setattr(ProxyEvaluator, "evaluate", stopped)
            if tiny.command(*arguments).code == 0:
                break
        arguments = ["search", "--resume", "--out", out]
    assert essence(out) == essence(finished_run)


def test_a_second_process_is_turned_away(finished_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished_run, out)
    before = tiny.contents(out)
    with FileLock(out / ".lock"):
        done = tiny.command("search", "--out", out, "--resume")
    assert done.code == 2
    assert done.err == (
        f"error: another process is writing into {out}; wait for it, or choose another --out\n"
    )
    assert tiny.contents(out) == before
    assert tiny.command("search", "--out", out, "--resume").code == 0


def test_a_corpus_that_has_changed_is_noticed(tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus.txt", tmp_path / "run"
    corpus.write_text("\n".join(tiny.paragraphs(400)))
    config = tmp_path / "config.yaml"
    config.write_text(tiny.config(corpus).to_yaml())
    assert tiny.command("search", "--config", config, "--out", out).code == 0
    corpus.write_text("\n".join(tiny.paragraphs(400, seed=1)))
    before = tiny.contents(out)
    done = tiny.command("search", "--out", out, "--resume")
    assert done.code == 2
    assert f"{out} was started on other text: {corpus} was " in done.err
    assert done.err.count("\n") == 1
    assert tiny.contents(out) == before


def test_resuming_a_finished_run_changes_nothing(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "whole"
    subprocess.run(["cp", "-r", finished_run, out], check=True)
    for owner, name in ((proxy_evaluator, "train"), (scratch, "train")):
        monkeypatch.delattr(owner, name)
    assert tiny.command("search", "--resume", "--out", out).code == 0
    assert essence(out) == essence(finished_run)
    assert summary(out)["seconds"] >= summary(finished_run)["seconds"]


def test_a_stopped_run_has_a_leaderboard(settings_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProxyEvaluator, "evaluate", stopping(ProxyEvaluator.evaluate, count(), 3))
        tiny.command("search", "--config", settings_file, "--out", out)
    assert [row["status"] for row in rows(out)] == ["complete"] * 3
    assert not (out / "summary.json").exists()


def test_candidates_that_fail_are_recorded_and_the_search_goes_on(
    settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count(-2)  # two segments of warm-up, then the candidates
    accidents = {
        1: Diverged("loss is nan at step 2"),
        3: MemoryError("Unable to allocate 7 PiB"),
        5: Diverged("gradient is inf at step 1"),
    }

    def unlucky(*args: Any, **options: Any) -> float:
        if error := accidents.get(next(calls)):
            raise error
        return train(*args, **options)

    monkeypatch.setattr(proxy_evaluator, "train", unlucky)
    out = tmp_path / "run"
    done = tiny.command("search", "--config", settings_file, "--out", out)
    assert done.code == 0
    failed = {row["trial"]: (row["status"], row["reason"]) for row in rows(out) if not row["rank"]}
    assert failed == {
        "1": ("diverged", "loss is nan at step 2"),
        "3": ("failed", "out of memory: Unable to allocate 7 PiB"),
        "5": ("diverged", "gradient is inf at step 1"),
    }
    assert summary(out)["candidates"] == 9
    assert summary(out)["statuses"] == {"complete": 6, "diverged": 2, "failed": 1}
    assert "    1   diverged: loss is nan at step 2" in done.log
    trials = History(f"sqlite:///{out / 'study.db'}").load()
    assert all(trial.proposal.parent not in (1, 3, 5) for trial in trials)


def test_a_search_in_which_everything_fails(
    settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*args: Any, **options: Any) -> float:
        raise Diverged("loss is nan at step 1")

    monkeypatch.setattr(proxy_evaluator, "train", diverge)
    out = tmp_path / "run"
    done = tiny.command("search", "--config", settings_file, "--out", out)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no candidate completed" in done.err
    assert [row["status"] for row in rows(out)] == ["diverged"] * 9


def diverging(*names: str) -> Callable[..., JobResult]:
    """Training from scratch in which the models of these names diverge."""
    train = scratch.train_from_scratch

    def train_or_diverge(job: Job, *rest: Any) -> JobResult:
        if job.name.startswith(names):
            return JobResult(job.name, "diverged", "loss is nan at step 3")
        return train(job, *rest)

    return train_or_diverge


def test_opponents_may_diverge(settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "train_from_scratch", diverging("bert", "convolution"))
    out = tmp_path / "run"
    assert tiny.command("search", "--config", settings_file, "--out", out).code == 0
    assert (summary(out)["bert"]["status"], summary(out)["bert"]["val_loss"]) == ("diverged", None)
    assert "| BERT | diverged: loss is nan at step 3 |" in (out / "summary.md").read_text()


def test_the_winner_may_diverge_in_full(
    settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "train_from_scratch", diverging("best"))
    out = tmp_path / "run"
    assert tiny.command("search", "--config", settings_file, "--out", out).code == 0
    assert "diverged when trained in full: loss is nan at step 3" in (out / "summary.md").read_text()


def test_finalists_that_diverge_are_passed_over(
    settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "train_from_scratch", diverging("screening"))
    done = tiny.command("search", "--config", settings_file, "--out", tmp_path / "run")
    assert done.code == 2
    assert "every finalist diverged in the screening; lower final.learning_rate" in done.err


def test_the_users_backbones_come_first_also_after_a_stop(settings_file: Path, tmp_path: Path) -> None:
    own = ["softmax(scale(Q @ K.T)) @ V\nconv 3", "# twice the same\nconv 7\n\nconv 7\n"]
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, text in zip(paths, own, strict=True):
        path.write_text(text)
    out = tmp_path / "run"
    arguments = [part for path in paths for part in ("--seed-backbone", path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProxyEvaluator, "evaluate", stopping(ProxyEvaluator.evaluate, count(), 1))
        assert tiny.command("search", "--config", settings_file, "--out", out, *arguments).code == 130
    for path in paths:
        path.unlink()
    assert tiny.command("search", "--resume", "--out", out).code == 0
    trials = History(f"sqlite:///{out / 'study.db'}").load()
    assert [trial.proposal.backbone for trial in trials[:2]] == [Backbone.parse(text) for text in own]
    assert all(trial.proposal.mutations == ("given by the user",) for trial in trials[:2])


def test_random_search_and_an_exhausted_space(settings_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = ("strategy.name=random", "model.layers=1", "space.attention_share=0", "model.dropout=0")
    arguments = [part for setting in settings for part in ("--set", setting)]
    done = tiny.command("search", "--config", settings_file, "--out", out, *arguments)
    assert done.code == 0
    assert "the space is used up" in done.log
    assert summary(out)["candidates"] == 7
    assert sorted(row["backbone"] for row in rows(out)) == sorted(
        f"conv {kernel}" for kernel in (3, 5, 7, 9, 15, 31, 65)
    )


def test_folders_with_odd_names(settings_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "größe 1 % #2" / "deep"
    arguments = ("--set", "proxy.candidates=1", "--set", "final.finalists=1")
    assert tiny.command("search", "--config", settings_file, "--out", out, *arguments).code == 0
    assert {path.name for path in out.iterdir()} == FILES
    assert tiny.command("search", "--resume", "--out", out).code == 0


def until_the_first_candidate(command: list[str]) -> "subprocess.Popen[str]":
    """Starts a search, and returns when its first candidate is recorded."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any(re.match(r" +0 \* score", line) for line in process.stderr)
    return process


@pytest.mark.slow
def test_a_real_interrupt(finished_run: Path, settings_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    program = [sys.executable, "-m", "autobert_zero.cli", "search", "--out", str(out)]
    process = until_the_first_candidate([*program, "--config", str(settings_file)])
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; continue with: " in errors
    subprocess.run([*program, "--resume"], check=True, capture_output=True, timeout=120)
    if torch.get_num_threads() == 1:
        assert essence(out) == essence(finished_run)


@pytest.mark.slow
def test_a_real_kill(finished_run: Path, settings_file: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "autobert_zero.cli", "search"]
    for delay in (0.0, 0.05, 0.1, 0.2):
        out = tmp_path / f"after {delay}"
        process = until_the_first_candidate([*program, "--config", str(settings_file), "--out", str(out)])
        time.sleep(delay)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (out / "summary.json").exists()
        assert tiny.command("search", "--resume", "--out", out).code == 0
        assert essence(out) == essence(finished_run)
