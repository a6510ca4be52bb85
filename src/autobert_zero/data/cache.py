"""Where prepared data is kept, and how it is written so that no reader meets half a file."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import tokenizers


def cache_path(recipe: str, suffix: str, *sources: str) -> Path:
    """The file of a recipe, in `AUTOBERT_ZERO_CACHE` or `~/.cache/autobert-zero`.

    Args:
        recipe: Everything that the content depends on, except code.
        suffix: Ending of the file's name.
        sources: The `__file__` of each of our modules that makes the content: what another version of the
            code has made is never used.
    """
    folder = Path(os.environ.get("AUTOBERT_ZERO_CACHE", "~/.cache/autobert-zero")).expanduser()
    key = f"{code_version(*sources)}\n{recipe}"
    return folder / (hashlib.blake2b(key.encode(), digest_size=16).hexdigest() + suffix)


@cache
def code_version(*sources: str) -> str:
    """A digest of source files and of the version of `tokenizers`, which does their work."""
    digest = hashlib.blake2b(tokenizers.__version__.encode(), digest_size=16)
    for source in sources:
        content = Path(source).read_bytes()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, flushed to disk and renamed when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
