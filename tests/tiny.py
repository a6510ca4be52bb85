"""Searches that take a second: a made-up language, and sizes to go with it."""

import io
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from typing import NamedTuple
from unittest import mock

from tokenizers import Tokenizer

from autobert_zero import cli
from autobert_zero.data.corpus import Corpus
from autobert_zero.data.kinds import train_kind
from autobert_zero.data.normalisation import Spelling
from autobert_zero.search.config import SearchConfig
from autobert_zero.settings import resolve
from autobert_zero.zoo.trunks import MODERN_TRUNK


def paragraphs(count: int, seed: int = 0) -> list[str]:
    """Made-up text: paragraphs of twelve words out of a hundred or so."""
    random = Random(seed)
    words = ["".join(random.choices("abcdefghijklmnop", k=random.randint(1, 6))) for _ in range(120)]
    return [" ".join(random.choices(words, k=12)) for _ in range(count)]


def train_tokenizer(corpus: Corpus, vocab_size: int, spelling: Spelling | None = None) -> Tokenizer:
    """Trains a tokenizer, of the kind that the text asks for or of that of the spelling."""
    return train_kind(corpus, vocab_size, spelling=spelling)[0]


def config(corpus: Path, **changes: object) -> SearchConfig:
    """Nine candidates: a population of four, then rounds of two, the last one incomplete.

    Dropout is on, so that a resumed run that draws other random numbers shows.
    """
    return resolve(
        SearchConfig(),
        {
            "data": {"corpus": str(corpus), "vocab_size": 200, "length": 16},
            "model": {"layers": 2, "width": 16, "heads": 2, "dropout": 0.1},
            "space": {"max_ops": 5},
            "strategy": {"population": 4, "parents": 2},
            "proxy": {
                "candidates": 9,
                "warmup_steps": 14,
                "steps": 3,
                "batch_size": 4,
                "validation_sequences": 8,
            },
            "final": {
                "finalists": 2,
                "screening_steps": 3,
                "steps": 4,
                "batch_size": 4,
                "workers": 1,
                "equal_time": False,  # it depends on the time that steps take here, all else does not
            },
        },
        changes,
    )


def modern(corpus: Path, **changes: object) -> SearchConfig:
    """A search of the modern space in the modern trunk, from new weights, as the presets have it."""
    return resolve(
        config(corpus),
        {
            "space": {"primitives": "modern"},
            "model": MODERN_TRUNK,
            "strategy": {"known": True, "population": 10},
            "proxy": {"sharing": "none", "rungs": [0.5], "candidates": 13, "steps": 4},
            "final": {"rates": [1e-3, 1e-2], "equal_time": True},
        },
        changes,
    )


class Finished(NamedTuple):
    """What a command left.

    Attributes:
        code: Its exit code.
        out: Its standard output: results.
        err: Its standard error from the message that ends it on; nothing where it succeeded.
        log: Its standard error before that: progress.
    """

    code: int
    out: str
    err: str
    log: str = ""


def command(*arguments: object) -> Finished:
    """Runs `autobert-zero` in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["autobert-zero", *map(str, arguments)]
    with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    end = re.search(r"^(error: |stopped|Usage)", err.getvalue(), re.MULTILINE) if code else None
    begin = len(err.getvalue()) if end is None else end.start()
    return Finished(code, out.getvalue(), err.getvalue()[begin:], err.getvalue()[:begin])


def contents(folder: Path) -> dict[str, bytes | None]:
    """All files below a folder, with what is in them."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
