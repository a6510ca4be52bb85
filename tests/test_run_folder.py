"""One home for what searches, pre-trainings and fine-tunings share about their folders."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from filelock import FileLock

from autobert_zero.files import write_text
from autobert_zero.finetune.training.folder import FinetuneSetup, check_output_folder
from autobert_zero.pretrain.folder import read_pretrain_config
from autobert_zero.run_folder import (
    FINETUNING,
    PRETRAINING,
    SEARCH,
    Input,
    RunError,
    RunKind,
    check_new,
    check_run,
    kind_of,
    open_run,
    read_record,
    started_by_this_code,
)
from autobert_zero.run_folder import record as run_record
from autobert_zero.run_folder.names import RECORD, RUN_KINDS
from autobert_zero.search.config import read_search_config

TEXT = {"text": Input("a" * 40, "books/")}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new" / "run"


def start(
    out: Path, kind: RunKind = SEARCH, inputs: dict[str, Input] = TEXT, result: str = "bank"
) -> list[str]:
    """Starts or continues a run, and leaves a result; returns the lines for the user."""
    said: list[str] = []
    with open_run(out, kind, inputs, lambda: tiny_start(out, kind), said.append):
        (out / result).write_text("trained")
    return said


def tiny_start(out: Path, kind: RunKind) -> None:
    (out / "tokenizer.json").write_text("{}")
    (out / kind.marker).write_text("a config")


@pytest.mark.parametrize("kind", RUN_KINDS)
def test_a_run_is_started_and_continued(out: Path, kind: RunKind) -> None:
    check_new(out)
    assert kind_of(out) is None
    assert start(out, kind) == []
    assert kind_of(out) is kind
    check_run(out, kind)
    assert start(out, kind, result="more") == []
    assert {path.name for path in out.iterdir()} == {
        *(".lock", "run.json", "tokenizer.json", kind.marker, "bank", "more")
    }
    record = read_record(out)
    assert record is not None
    assert (record.kind, record.inputs, len(record.sessions)) == (kind.name, TEXT, 2)
    assert started_by_this_code(out)
    with pytest.raises(RunError, match=f"holds a {kind.name} already; "):
        check_new(out)


@pytest.mark.parametrize("kind", RUN_KINDS)
def test_a_run_of_another_kind_is_left_alone(out: Path, kind: RunKind) -> None:
    start(out, kind)
    before = tiny.contents(out)
    for other in set(RUN_KINDS) - {kind}:
        with pytest.raises(RunError, match=f"holds a {kind.name} already"):
            start(out, other)
        with pytest.raises(RunError, match=f"holds no {other.name} .*; it holds a {kind.name}"):
            check_run(out, other)
    assert tiny.contents(out) == before


@pytest.mark.parametrize(
    "names",
    [
        (),
        (".lock",),
        (".lock", "run.json"),
        ("run.json.12.partial",),
        (".lock", "run.json", "tokenizer.json", "config.yaml.12.partial"),
        ("tokenizer.json", "seed_backbones.json"),
        # As a search left it whose storage could not be reached.
        (".lock", "config.yaml", "seed_backbones.json", "tokenizer.json"),
        (".lock", "run.json", "pretrain.yaml", "tokenizer.json"),
    ],
)
def test_a_folder_that_a_start_left_is_free(out: Path, names: tuple[str, ...]) -> None:
    out.mkdir(parents=True)
    for name in names:
        (out / name).write_text("half")
    check_new(out)
    start(out, FINETUNING)
    assert {path.name for path in out.iterdir()} == {
        *(".lock", "run.json", "tokenizer.json", "finetune.json", "bank")
    }


@pytest.mark.parametrize("at", range(3))
def test_a_kill_at_any_write_of_the_start_leaves_a_free_folder(
    out: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    calls = iter(range(9))

    def stopping(*rest: Any) -> None:
        if next(calls) == at:
            raise KeyboardInterrupt
        write_text(*rest)

    def write() -> None:
        for name in ("tokenizer.json", PRETRAINING.marker):
            stopping(out / name, "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_record, "write_text", stopping)
        with pytest.raises(KeyboardInterrupt), open_run(out, PRETRAINING, TEXT, write):
            pass
    check_new(out)
    start(out, PRETRAINING, {"text": Input("b" * 40, "other/")})
    record = read_record(out)
    assert record is not None
    assert record.inputs["text"].name == "other/"


@pytest.mark.parametrize("name", ["thesis.tex", "config.yaml", "tokenizer.json"])
def test_files_of_the_user_are_not_overwritten(out: Path, name: str) -> None:
    out.mkdir(parents=True)
    (out / name).write_text("mine")
    before = tiny.contents(out)
    with pytest.raises(RunError, match="holds"):
        start(out, PRETRAINING)
    assert tiny.contents(out) == before


def test_other_inputs_are_refused(out: Path) -> None:
    start(out, inputs={**TEXT, "seed backbones": Input("s1", "mine")})
    before = tiny.contents(out)
    changed = {"text": Input("b" * 40, "books/"), "seed backbones": Input("s1", "mine")}
    with pytest.raises(RunError) as caught:
        start(out, inputs=changed)
    assert str(caught.value) == (
        f"{out} was started on other text: books/ was aaaaaaaaaaaa, books/ is bbbbbbbbbbbb; put it back "
        "as it was, or start another run"
    )
    with pytest.raises(RunError, match="on other seed backbones: mine was s1, none is s0"):
        start(out, inputs={**TEXT, "seed backbones": Input("s0", "none")})
    assert tiny.contents(out) == before
    # What one of the versions does not know is not compared.
    assert start(out, inputs={**TEXT, "tokenizer": Input("t", "tokenizer.json")}) == []


def test_a_run_of_before_records_is_taken_up(out: Path) -> None:
    start(out)
    (out / RECORD).unlink()
    assert not started_by_this_code(out)
    (said,) = start(out)
    assert said.endswith("has no run.json: whether the run goes on with what it was started on is not known")
    assert not started_by_this_code(out)
    with pytest.raises(RunError, match="was started on other text"):
        start(out, inputs={"text": Input("b" * 40, "books/")})


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return edit


def test_another_version_is_said(out: Path) -> None:
    start(out)
    record = out / RECORD
    other = edited(lambda content: content["sessions"][0]["versions"].update({"autobert-zero": "0.0.9"}))
    record.write_text(other(record.read_text()))
    (said,) = start(out)
    assert said.startswith("the run was started by autobert-zero 0.0.9")


READ: dict[RunKind, Callable[[Path], object]] = {
    SEARCH: read_search_config,
    PRETRAINING: read_pretrain_config,
    FINETUNING: lambda folder: check_output_folder(folder, FinetuneSetup({}, {})),
}


@pytest.mark.parametrize("kind", RUN_KINDS)
def test_a_run_that_another_version_wrote_is_not_called_damaged(out: Path, kind: RunKind) -> None:
    """Whatever reads it: to continue the run, to report it, or to start from it."""
    start(out, kind)
    (out / kind.marker).write_text("{invented_later: 3}")
    with pytest.raises(RunError, match=rf"{kind.marker} is damaged \(.*\); start another run"):
        READ[kind](out)
    record = out / RECORD
    record.write_text(
        edited(lambda content: content["sessions"][0].update(commit="f" * 40))(record.read_text())
    )
    with pytest.raises(
        RunError, match=rf"{kind.marker} was written by \S+ \S+ \(f{{12}}\) and cannot"
    ) as error:
        READ[kind](out)
    assert "damaged" not in str(error.value)


def test_an_incompatible_version_is_refused(out: Path) -> None:
    start(out)
    record = out / RECORD
    record.write_text(edited(lambda content: content.update(format=99))(record.read_text()))
    before = tiny.contents(out)
    with pytest.raises(RunError, match=r"was started by autobert-zero .* cannot continue; continue it with"):
        start(out)
    assert tiny.contents(out) == before


SESSION: dict[str, Any] = {"commit": None, "command": "search", "versions": {"autobert-zero": "1"}}
DAMAGED_SESSIONS: tuple[list[Any], ...] = (
    [],
    [None],
    [{}],
    [SESSION | {"versions": {}}],
    [SESSION | {"versions": ["1"]}],
    [SESSION | {"versions": {"autobert-zero": None}}],
    [SESSION | {"commit": 5}],
    [SESSION, SESSION | {"command": ["search"]}],
)
DAMAGED_RECORDS = [
    *("", "[]", "{", '{"kind": "run"}', '{"inputs": {}, "sessions": [1]}'),
    *(
        json.dumps({"kind": "run", "format": 1, "inputs": {}, "sessions": sessions})
        for sessions in DAMAGED_SESSIONS
    ),
    json.dumps({"kind": "run", "format": 1, "inputs": {"text": {"identity": 3}}, "sessions": [SESSION]}),
    json.dumps({"kind": "run", "format": "1", "inputs": {}, "sessions": [SESSION]}),
]


@pytest.mark.parametrize("damage", DAMAGED_RECORDS)
def test_a_damaged_record(out: Path, damage: str) -> None:
    start(out)
    (out / RECORD).write_text(damage)
    with pytest.raises(RunError, match=r"run\.json is damaged .*delete it, only the record"):
        start(out)


def test_one_writer(out: Path) -> None:
    start(out)
    before = tiny.contents(out)
    with FileLock(out / ".lock"), pytest.raises(RunError, match="another process is writing into"):
        start(out)
    assert tiny.contents(out) == before
    start(out)


def test_leftovers_are_removed(out: Path) -> None:
    start(out)
    (out / "final").mkdir()
    (out / "final" / "bert.json.77.partial").write_text("half")
    start(out)
    assert not list(out.rglob("*.partial"))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="cannot be made: Not a directory"):
        start(tmp_path / "file" / "run")
    with pytest.raises(RunError, match="file is a file; choose another --out"):
        start(tmp_path / "file")


@pytest.mark.parametrize("name", [b"out\xff", b"\xe9t\xe9/out", b"\xff"])
def test_a_name_that_is_not_utf_8(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(RunError, match="is not UTF-8; choose another --out"):
        check_new(tmp_path / os.fsdecode(name))
    assert not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_into(out: Path) -> None:
    (out / ".lock").mkdir(parents=True)
    with pytest.raises(RunError, match="cannot be written into: Is a directory"):
        start(out)
