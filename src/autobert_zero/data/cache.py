"""Where prepared data is kept."""

import hashlib
import os
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
