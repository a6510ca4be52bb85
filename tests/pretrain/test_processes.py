"""Several real processes over gloo, started by the commands of docs/pretraining.md; killed and stopped."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import tiny
import torch
import transformers
from hf_samples import save_bert
from runs import HYBRID, arguments, weights
from tokenizers import Tokenizer

from autobert_zero.pretrain.log import read_log
from autobert_zero.training.checkpoint import checkpoints

pytestmark = pytest.mark.slow

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
ACCELERATE = (sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--config_file")
FSDP = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
use_cpu: true
num_machines: 1
num_processes: 2
mixed_precision: 'no'
main_process_port: 0
fsdp_config:
  fsdp_version: 2
"""
LONG = ("phases=[{steps: 100000, length: 16, batch_size: 4}]", "report.checkpoint_every=50")


def launcher(kind: str, folder: Path) -> list[str]:
    if kind == "torchrun":
        return [*TORCHRUN, "-m", "autobert_zero"]
    (folder / "fsdp.yaml").write_text(FSDP)
    return [*ACCELERATE, str(folder / "fsdp.yaml"), "-m", "autobert_zero"]


@pytest.mark.parametrize("kind", ["torchrun", "accelerate with FSDP"])
def test_two_processes_train_as_one(corpus_file: Path, tmp_path: Path, kind: str) -> None:
    """The same loss curve and weights, and a checkpoint of two processes continues."""
    steady = ("model.dropout=0", "report.log_every=1", "precision=fp32")  # bf16 would show the order of sums
    one, two = tmp_path / "one", tmp_path / "two"
    assert tiny.command(*arguments(corpus_file, one, *steady)).code == 0
    chosen = arguments(corpus_file, two, *steady)
    for given in (chosen, ["pretrain", "--out", two, "--resume"]):
        command = [*launcher(kind, tmp_path), *map(str, given)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        assert done.stdout.count("held-out loss") == 1
        if given is chosen:  # continue the last three steps, too
            for path in (*two.glob("*.safetensors"), two / "summary.json"):
                path.unlink()
            shutil.rmtree(two / "checkpoints" / "00000012")
    assert "resuming after 9 of 12" in done.stderr
    curves = ([line["loss"] for line in read_log(out) if "loss" in line] for out in (one, two))
    for alone, together in zip(*curves, strict=True):
        assert alone == pytest.approx(together, abs=1e-5)
    check_same_evaluations(one, two)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(two)[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["torchrun", "accelerate with FSDP"])
@pytest.mark.parametrize(
    "more",
    [
        (),
        ("distil.hidden=1", "distil.masked=1"),
        ("distil.embedding=0", "distil.hidden=1", "model.norm=pre"),
    ],
)
def test_two_processes_distil_as_one(
    kind: str, more: tuple[str, ...], finished_run: Path, corpus_file: Path, tmp_path: Path
) -> None:
    """With embeddings that are kept, with other losses, and with one that stops short of the final norm."""
    tokenizer = Tokenizer.from_file(str(finished_run / "tokenizer.json"))
    teacher = save_bert(tmp_path / "teacher", tokenizer, transformers.BertModel)
    settings = (
        "phases=[{steps: 6, length: 16, batch_size: 4}]",
        "report.log_every=1",
        "precision=fp32",
        *more,
    )
    given = ["distil", "--teacher", teacher, "--backbone", HYBRID, "--corpus", corpus_file]
    given += [part for each in (*settings, "model.width=8", "model.heads=2") for part in ("--set", each)]
    one, two = tmp_path / "one", tmp_path / "two"
    assert tiny.command(*given, "--out", one).code == 0
    command = [*launcher(kind, tmp_path), *map(str, (*given, "--out", two))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    curves = ([line["loss"] for line in read_log(out) if "loss" in line] for out in (one, two))
    for alone, together in zip(*curves, strict=True):
        assert alone == pytest.approx(together, abs=1e-5)
    summaries = [json.loads((out / "summary.json").read_text()) for out in (one, two)]
    for name in {"holdout_loss", "holdout_cosine"} & summaries[0].keys():
        assert summaries[0][name] == pytest.approx(summaries[1][name], abs=1e-5)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(two)[name], rtol=1e-3, atol=1e-4)


STREAM_AHEAD = """
from autobert_zero import cli
from autobert_zero.data import streaming
from autobert_zero.pretrain import text
from autobert_zero.training import loop
loop.runs_ahead = lambda device: True  # as on a GPU: a thread prepares the next batches
streaming.StreamingBatches.__init__.__defaults__ = (20,)
text.first_block = lambda source: streaming.first_block(source, 20)
cli.main()
"""


def test_two_processes_stream_while_they_exchange_gradients(corpus_file: Path, tmp_path: Path) -> None:
    """A thread tokenises a block for about every second step."""
    program = tmp_path / "ahead.py"
    program.write_text(STREAM_AHEAD)
    phases = "phases=[{steps: 40, length: 16, batch_size: 8}]"
    steady = (phases, "data.streaming=true", "model.dropout=0", "report.log_every=1", "precision=fp32")
    curves = []
    for name, launch in (("one", [sys.executable]), ("two", TORCHRUN)):
        out = tmp_path / name
        command = [*launch, str(program), *map(str, arguments(corpus_file, out, *steady))]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr[-4000:]
        curves.append([line["loss"] for line in read_log(out) if "loss" in line])
    assert len(curves[0]) == 40
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)


def check_same_evaluations(one: Path, two: Path) -> None:
    """What two processes measured together, one measured alone."""
    names = ("validation_loss", "mlm_accuracy")
    alone, together = (
        [line[name] for line in read_log(out) for name in names if name in line] for out in (one, two)
    )
    assert len(alone) >= 4
    assert alone == pytest.approx(together, abs=1e-4)
    summaries = [json.loads((out / "summary.json").read_text()) for out in (one, two)]
    for name in ("validation_loss", "validation_mlm_accuracy", "holdout_loss", "holdout_mlm_accuracy"):
        assert summaries[0][name] == pytest.approx(summaries[1][name], abs=1e-4)


def test_a_launcher_that_starts_one_of_two_is_refused(corpus_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    launch = (*ACCELERATE[:-1], "--cpu", "--num_processes", "2", "-m", "autobert_zero.cli")
    command = [*launch, *map(str, arguments(corpus_file, out))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "error: accelerate launch started one process where several were asked for" in done.stderr
    assert not out.exists()


@contextmanager
def training(command: list[str], out: Path) -> Iterator["subprocess.Popen[str]"]:
    """Yields a running training when it has its first checkpoint."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 200
        while not checkpoints(out / "checkpoints"):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
            child.kill()
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", ["torchrun", "accelerate with FSDP"])
def test_one_killed_process_ends_all_and_nothing_is_lost(
    corpus_file: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    command = [*launcher(kind, tmp_path), *map(str, arguments(corpus_file, out, *LONG))]
    with training(command, out) as process:
        ranks = [each for each in psutil.Process(process.pid).children(recursive=True) if is_rank(each)]
        assert len(ranks) == 2
        ranks[-1].kill()
        process.communicate(timeout=120)
        assert process.returncode != 0
        assert not any(each.is_running() for each in ranks)
    kept = [int(path.name) for path in checkpoints(out / "checkpoints")]
    assert kept[0] % 50 == 0
    check_that_it_goes_on(command[: command.index("pretrain")], out, kept[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_launcher_stops_all_after_the_same_step(
    corpus_file: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    given = arguments(corpus_file, out, *LONG, "report.log_every=1")
    command = [*launcher("torchrun", tmp_path), *map(str, given)]
    with training(command, out) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        assert process.returncode != 0
    assert errors.count("stopped; continue with") == 1
    step = int(checkpoints(out / "checkpoints")[0].name)
    assert step == max(line["step"] for line in read_log(out))
    check_that_it_goes_on(command[: command.index("pretrain")], out, step)


def is_rank(process: psutil.Process) -> bool:
    return "RANK" in process.environ()


def check_that_it_goes_on(launch: list[str], out: Path, step: int) -> None:
    """Resumes with two processes, which are stopped again after a checkpoint."""
    command = [*launch, "pretrain", "--out", str(out), "--resume"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while int(checkpoints(out / "checkpoints")[0].name) <= step and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert f"resuming after {step:,} of 100,000 steps" in errors
    newest = checkpoints(out / "checkpoints")[0]
    assert json.loads((newest / "checkpoint.json").read_text())["step"] > step
