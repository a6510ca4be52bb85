"""The folder of a run, shared by searches, pre-trainings and fine-tunings.

Is it free, half-made or a run, and of which kind; one writer at a time; by which code and on which inputs
the run was started (`run.json`), checked where it is continued.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autobert_zero.errors import UserError
from autobert_zero.files import remove_partial, write_text
from autobert_zero.provenance import provenance

RECORD = "run.json"
LOCK = ".lock"

_FORMAT = 1
"""Raised when code of before cannot continue the runs of this code, or this code not those of before."""


_BEFORE_RECORDS = {"time": None, "commit": None, "command": None, "versions": {"autobert-zero": "unknown"}}
"""Stands for the start of a run that has no record of it."""


class RunError(UserError):
    """A run folder that cannot be used."""


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes:
        name: What messages call it.
        marker: The file that makes a folder a run of this kind; written last of those that a start writes.
    """

    name: str
    marker: str


SEARCH = Kind("run", "config.yaml")
PRETRAINING = Kind("pre-training", "pretrain.yaml")
FINETUNING = Kind("fine-tuning", "finetune.json")
KINDS = (SEARCH, PRETRAINING, FINETUNING)

_OURS = {LOCK, RECORD, "seed_backbones.json"}
"""Files that a start writes and a user does not."""

_STARTED = _OURS | {kind.marker for kind in KINDS} | {"tokenizer.json", "latencies.json", "trivial.json"}
"""Files that a start writes before anything is trained."""


@dataclass(frozen=True)
class Input:
    """Something that the results of a run depend on beside its config.

    Attributes:
        identity: A digest of its content.
        name: What the user calls it, for messages.
    """

    identity: str
    name: str


@dataclass(frozen=True)
class Record:
    """What `run.json` holds.

    Attributes:
        kind: Name of the run's kind.
        format: Raised when code and runs stop to fit each other.
        inputs: What the run was started on, by what it is (`text`, `seed backbones`, ...).
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


def kind_of(folder: Path) -> Kind | None:
    """The kind of run in a folder; None where there is none."""
    return next((kind for kind in KINDS if (folder / kind.marker).is_file()), None)


def check_new(folder: Path) -> None:
    """Checks that a folder is free for a new run: missing, empty, or left by a start that did not succeed.

    Raises:
        RunError: It holds something.
    """
    if _free(folder):
        return
    kind = kind_of(folder)
    if kind is None:
        raise RunError(f"{folder} holds other files already; choose another --out")
    how = "give the same call again" if kind is FINETUNING else "continue a run with --resume"
    raise RunError(f"{folder} holds a {kind.name} already; {how}, or choose another --out")


def check_run(folder: Path, kind: Kind) -> None:
    """Checks that a folder holds a run of a kind, to continue it.

    Raises:
        RunError: It does not.
    """
    other = kind_of(folder)
    if (folder / kind.marker).is_file():
        return
    what = f"it holds a {other.name}" if other else "start one without --resume"
    raise RunError(f"{folder} holds no {kind.name} (no {kind.marker}); {what}")


def read_record(folder: Path) -> Record | None:
    """Reads `run.json`; None for a run of before there was one.

    Raises:
        RunError: It is damaged.
    """
    path = folder / RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        inputs = {str(what): Input(**each) for what, each in content["inputs"].items()}
        sessions = tuple({**session} for session in content["sessions"])
        record = Record(str(content["kind"]), int(content["format"]), inputs, sessions)
        assert record.code
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise RunError(
            f"{path} is damaged ({error}); delete it, only the record of how the run was started is lost"
        ) from None
    return record


def begun(folder: Path, kind: Kind) -> bool:
    """Whether a folder holds a run of a kind that would be continued; False where one would be started.

    Raises:
        RunError: It holds something else.
    """
    if kind_of(folder) is kind and not _free(folder):
        return True
    check_new(folder)
    return False


def check_inputs(folder: Path, inputs: Mapping[str, Input]) -> Record | None:
    """Checks that a run is continued by code and on inputs that fit how it was started.

    Returns:
        How it was started; None for a run of before this was recorded.

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
                f"{folder} was started on other {what}: {before.name} was {_short(before.identity)}, "
                f"{now.name} is {_short(now.identity)}; put it back as it was, or start another run"
            )
    return record


@contextmanager
def open_run(
    folder: Path,
    kind: Kind,
    inputs: Mapping[str, Input],
    write_start: Callable[[], None],
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[None]:
    """Opens a folder for its one writer: starts a run in it, or continues the one that it holds.

    Args:
        folder: The folder; made if it is missing.
        kind: Of the run.
        inputs: What the run depends on beside its config, by what it is; compared where it is continued.
        write_start: Writes the files that a continuation reads, the kind's marker last.
        say: Called with a line for the user.

    Raises:
        RunError: The folder holds something else, the run was started on other inputs or by other code, or
            another process writes into it; the folder is as it was then.
    """
    started = begun(folder, kind)
    if started:
        check_inputs(folder, inputs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be made: {error.strerror}; choose another --out") from None
    with _only_writer(folder):
        if begun(folder, kind) != started:
            raise RunError(f"another process has written into {folder}; choose another --out")
        remove_partial(folder)
        if started:
            _note_session(folder, kind, inputs, say)
        else:
            for name in _STARTED - {LOCK}:
                (folder / name).unlink(missing_ok=True)
            _write_record(folder, Record(kind.name, _FORMAT, inputs, (provenance(),)))
            write_start()
        yield


def started_by_this_code(folder: Path) -> bool:
    """Whether the run was started by the version and commit that runs now; False where it is not known."""
    record = read_record(folder)
    return record is not None and record.code == _code(provenance())


def other_code(folder: Path) -> str | None:
    """The version that started a run, in words, where it is known and not the one that runs now."""
    record = read_record(folder)
    return None if record is None or record.code == _code(provenance()) else _name(record.code)


def _code(session: Mapping[str, Any]) -> tuple[Any, Any]:
    return session["versions"]["autobert-zero"], session["commit"]


def _name(code: tuple[Any, Any]) -> str:
    version, commit = code
    return f"autobert-zero {version}" + (f" ({_short(commit)})" if commit else "")


def _free(folder: Path) -> bool:
    """Whether nothing in a folder would be lost: all that is in it was left by a start."""
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return not folder.exists()  # it cannot be made either, which is reported later
    except OSError as error:
        raise RunError(f"{folder} cannot be read: {error.strerror}; choose another --out") from None
    whole = {name for name in names if not name.endswith(".partial")}
    return not names or (whole <= _STARTED and bool(whole & _OURS or names - whole))


def _note_session(folder: Path, kind: Kind, inputs: Mapping[str, Input], say: Callable[[str], None]) -> None:
    """Adds this session to the record; a run of before there were records gets one."""
    record = check_inputs(folder, inputs)
    now = provenance()
    if record is None:
        say(f"{folder} has no {RECORD}: whether the run goes on with what it was started on is not known")
        record = Record(kind.name, _FORMAT, {}, (_BEFORE_RECORDS,))
    elif record.code != _code(now):
        say(f"the run was started by {_name(record.code)} and goes on with {_name(_code(now))}")
    known = {**inputs, **record.inputs}
    _write_record(folder, Record(record.kind, _FORMAT, known, (*record.sessions, now)))


def _write_record(folder: Path, record: Record) -> None:
    content = {
        "kind": record.kind,
        "format": record.format,
        "inputs": {what: asdict(each) for what, each in record.inputs.items()},
        "sessions": list(record.sessions),
    }
    write_text(folder / RECORD, json.dumps(content, indent=2) + "\n")


def _short(identity: str) -> str:
    return identity[:12]


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing into the folder."""
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"another process is writing into {folder}; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise RunError(f"{folder} cannot be written into: {error.strerror}; choose another --out") from None
    try:
        yield
    finally:
        lock.release()
