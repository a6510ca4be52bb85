"""The folder of a fine-tuning: its settings and inputs, and whether a call continues it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autobert_zero.data.folder import ending
from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.run_folder import (
    FINETUNING,
    Input,
    check_inputs,
    holds_run,
    kind_of,
    open_run,
    read_record,
    unreadable_file_error,
)
from autobert_zero.run_folder.digests import digest_of
from autobert_zero.settings import computing_settings

_READ_BEFORE = {".safetensors", ".bin", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml"}
"""Endings of input files in folders from before inputs were recorded."""

_COLUMNS = {".conll", ".conllu", ".conllup", ".bio", ".iob", ".iob2"}
"""Files in column formats, see `tags.data`."""

_BENCHMARK_ENDINGS = {".train", ".testa", ".testb", ".annotated"}
"""Files of CoNLL-2003 and WNUT-17 under their own names."""

_READ = _READ_BEFORE | {".txt", ".model"} | _COLUMNS | _BENCHMARK_ENDINGS
"""Endings of input files, including vocabularies of tokenizers without a tokenizer.json."""

_FREE = {"keep", "rates", "seed", "seeds"} | computing_settings(FinetuneConfig)
"""Settings that may change when a fine-tuning is continued: no single training depends on them."""


@dataclass(frozen=True)
class FinetuneSetup:
    """Settings and inputs of a fine-tuning.

    Attributes:
        settings: Settings as plain data, the same in every call that continues the fine-tuning.
        inputs: Model, data and task, identified by their content.
    """

    settings: Mapping[str, Any]
    inputs: Mapping[str, Input]


def check_output_folder(out: Path, start: FinetuneSetup) -> None:
    """Checks that a folder is free, or holds a fine-tuning with the same settings and inputs.

    Raises:
        UserError: Neither holds.
    """
    if not holds_run(out, FINETUNING):
        return
    path = out / FINETUNING.marker
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        settings = {
            **FinetuneConfig.LEGACY_DEFAULTS,
            **before["settings"],
            "task": before["task"],
            "length": before["length"],
        }
        digests = {what: before["contents"][what] for what in before.get("contents", {})}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable_file_error(path, repr(error)) from None
    other = [
        f"{name} {value!r}, not {start.settings[name]!r}"
        for name, value in settings.items()
        if name in start.settings.keys() - _FREE and value != start.settings[name]
    ]
    for what, digest in digests.items():  # of folders from before there was run.json
        now = start.inputs.get(what)
        if digest is not None and (now is None or digest != content_digest(Path(now.name), _READ_BEFORE)):
            other.append(f"another {what}" if what != "data" else "other data")
    if other:
        raise UserError(f"{out} holds a fine-tuning with {'; '.join(other)}: choose another --out")
    check_inputs(out, _as_recorded(out, start))


@contextmanager
def open_folder(out: Path, start: FinetuneSetup, say: Callable[[str], None]) -> Iterator[None]:
    """Opens the folder for one writer, and records settings, inputs and the version of the code.

    Raises:
        UserError: The folder cannot be used; it is not changed.
    """
    check_output_folder(out, start)
    settings = dict(start.settings)
    about = {"task": settings.pop("task"), "length": settings.pop("length"), "settings": settings}

    def write_start() -> None:
        write_text(out / FINETUNING.marker, json.dumps(about, indent=2) + "\n")

    with open_run(out, FINETUNING, _as_recorded(out, start), write_start, say):
        yield


def _as_recorded(out: Path, start: FinetuneSetup) -> Mapping[str, Input]:
    """The inputs, with the recorded digests of model and data where they are of an earlier, wider kind."""
    record = read_record(out) if kind_of(out) is FINETUNING else None
    recorded = {} if record is None else record.inputs
    return {
        what: before
        if (before := recorded.get(what)) is not None and before.identity == content_digest(Path(now.name))
        else now
        for what, now in start.inputs.items()
    }


def content_digest(source: Path, endings: set[str] = _READ) -> str | None:
    """A digest of the files of a model, data or task; None if it is not on this disk."""
    if not source.exists():
        return None
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    return digest_of(path for path in files if ending(path) in endings and path.is_file())
