"""Digests of the files that results depend on: a model, its weights, data."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

_WEIGHTS = "model*.safetensors"

_MODEL = (
    *("*.safetensors", "model.safetensors.index.json", "config.json"),
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
)
"""Weights, config and tokenizer, whatever its kind."""


def digest_of(files: Iterable[Path]) -> str:
    """A digest of the names and the contents of files, in the given order."""
    whole = hashlib.sha256()
    for path in files:
        whole.update(path.name.encode())
        with path.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


def text_digest(text: str) -> str:
    """A digest of a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def settings_digest(settings: Mapping[str, Any], free: Collection[str] = ()) -> str:
    """A digest of nested settings, except for those that are free to change: names with dots between."""

    def counted(section: Mapping[str, Any], place: str) -> dict[str, Any]:
        return {
            key: counted(value, f"{place}{key}.") if isinstance(value, Mapping) else value
            for key, value in section.items()
            if f"{place}{key}" not in free
        }

    return text_digest(json.dumps(counted(settings, ""), sort_keys=True))


def weights_digest(folder: Path) -> str | None:
    """A digest of the weights in a folder; None where there are none."""
    files = sorted(folder.glob(_WEIGHTS))
    return digest_of(files) if files else None


def model_digest(folder: Path) -> str | None:
    """A digest of the weights, the config and the tokenizer in a folder; None for what is not on this disk.

    Records of the run that made the model, which change without it, do not count.
    """
    return digest_of(model_files(folder)) if folder.is_dir() else None


def model_files(folder: Path) -> list[Path]:
    """The files of a model in a folder: weights, config and tokenizer, by name."""
    return sorted({path for pattern in _MODEL for path in folder.glob(pattern)})
