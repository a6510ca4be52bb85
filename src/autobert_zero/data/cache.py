"""Where prepared data is kept, and how it is written so that no reader meets half a file."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_path(recipe: str, suffix: str) -> Path:
    """The file of a recipe, in `AUTOBERT_ZERO_CACHE` or `~/.cache/autobert-zero`."""
    folder = Path(os.environ.get("AUTOBERT_ZERO_CACHE", "~/.cache/autobert-zero")).expanduser()
    return folder / (hashlib.blake2b(recipe.encode(), digest_size=16).hexdigest() + suffix)


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
