"""The record in a run folder: by which code, and on which inputs, the run was started and continued."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autobert_zero.errors import UserError
from autobert_zero.files import read_dataclass, write_text
from autobert_zero.provenance import provenance
from autobert_zero.run_folder.names import RECORD, RunKind

_PACKAGE = "autobert-zero"

_FORMAT = 1
"""Increased whenever older code cannot continue the runs of this code, or this code older runs."""

_BEFORE_RECORDS = {"time": None, "commit": None, "command": None, "versions": {_PACKAGE: "unknown"}}
"""Stands for the start of a run that has no record of it."""


class RunError(UserError):
    """A run folder that cannot be used."""


@dataclass(frozen=True)
class Input:
    """Something that the results of a run depend on besides its config.

    Attributes:
        identity: A digest of its content.
        name: The user's name for it, for messages.
    """

    identity: str
    name: str


@dataclass(frozen=True)
class RunRecord:
    """The content of `run.json`.

    Attributes:
        kind: Name of the run's kind.
        format: Increased whenever code and older runs stop being compatible.
        inputs: Inputs that the run was started on, by kind (`text`, `seed backbones`, ...).
        sessions: Provenance of the start and of each continuation, see `provenance`.
    """

    kind: str
    format: int
    inputs: Mapping[str, Input]
    sessions: tuple[Mapping[str, Any], ...]

    @property
    def code(self) -> tuple[Any, Any]:
        """Version and commit of the code that started the run."""
        return _code(self.sessions[0])


def read_record(folder: Path) -> RunRecord | None:
    """Reads `run.json`; None for a run from before there was one.

    Raises:
        RunError: It is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    remedy = "delete it, only the record of how the run was started is lost"
    try:
        record = read_dataclass(RunRecord, path, remedy)
    except UserError as error:
        raise RunError(str(error)) from None
    if not record.sessions or not all(map(_is_session, record.sessions)):
        raise RunError(f"{path} is damaged (a session lacks its commit, command or versions); {remedy}")
    return record


def _is_session(session: Mapping[str, Any]) -> bool:
    """Whether a session has what messages and reports show; a commit or a command may be None."""
    versions, texts = session.get("versions"), [session.get(name, ...) for name in ("commit", "command")]
    return (
        isinstance(versions, Mapping)
        and _PACKAGE in versions
        and all(isinstance(version, str) for version in versions.values())
        and all(text is None or isinstance(text, str) for text in texts)
    )


def check_inputs(folder: Path, inputs: Mapping[str, Input]) -> RunRecord | None:
    """Checks that a run is continued by code and on inputs that fit how it was started.

    Returns:
        How it was started; None for a run from before this was recorded.

    Raises:
        RunError: They do not fit.
    """
    record = read_record(folder)
    if record is None:
        return None
    if record.format != _FORMAT:
        raise RunError(
            f"{folder} was started by {_name(record.code)}, whose runs {_name(_code(provenance()))} cannot "
            "continue; continue it with that version, or start another run"
        )
    for what, before in record.inputs.items():
        now = inputs.get(what, before)
        if now.identity != before.identity:
            raise RunError(
                f"{folder} was started on other {what}: {before.name} was {_short_digest(before.identity)}, "
                f"{now.name} is {_short_digest(now.identity)}; put it back as it was, or start another run"
            )
    return record


def started_by_this_code(folder: Path) -> bool:
    """Whether the run was started by the version and commit that runs now; False where it is not known."""
    record = read_record(folder)
    return record is not None and record.code == _code(provenance())


def unreadable_file_error(path: Path, error: object) -> RunError:
    """The error about a file in a run folder that cannot be read: another version wrote it, or it is damaged.

    Args:
        path: The file.
        error: What is wrong with it.
    """
    record = read_record(path.parent)
    if record is None or record.code == _code(provenance()):
        return RunError(f"{path} is damaged ({error}); start another run")
    return RunError(
        f"{path} was written by {_name(record.code)} and cannot be read by this version ({error}); use the "
        "run with that version, or start another"
    )


def _code(session: Mapping[str, Any]) -> tuple[Any, Any]:
    return session["versions"][_PACKAGE], session["commit"]


def _name(code: tuple[Any, Any]) -> str:
    version, commit = code
    return f"autobert-zero {version}" + (f" ({_short_digest(commit)})" if commit else "")


def start_record(folder: Path, kind: RunKind, inputs: Mapping[str, Input]) -> None:
    """Writes the record of a new run."""
    _write_record(folder, RunRecord(kind.name, _FORMAT, inputs, (provenance(),)))


def continue_record(
    folder: Path, kind: RunKind, inputs: Mapping[str, Input], say: Callable[[str], None]
) -> None:
    """Adds this session to the record of a run; a run from before there were records gets one."""
    record = check_inputs(folder, inputs)
    now = provenance()
    if record is None:
        say(f"{folder} has no {RECORD}: whether the run goes on with what it was started on is not known")
        record = RunRecord(kind.name, _FORMAT, {}, (_BEFORE_RECORDS,))
    elif record.code != _code(now):
        say(f"the run was started by {_name(record.code)} and goes on with {_name(_code(now))}")
    known = {**inputs, **record.inputs}
    _write_record(folder, RunRecord(record.kind, _FORMAT, known, (*record.sessions, now)))


def _write_record(folder: Path, record: RunRecord) -> None:
    content = {
        "kind": record.kind,
        "format": record.format,
        "inputs": {what: asdict(recorded) for what, recorded in record.inputs.items()},
        "sessions": list(record.sessions),
    }
    write_text(folder / RECORD, json.dumps(content, indent=2) + "\n")


def _short_digest(identity: str) -> str:
    return identity[:12]
