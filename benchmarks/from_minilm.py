"""From MiniLM to a faster encoder: what the search found against layers chosen by hand, at equal latency.

    python benchmarks/from_minilm.py --corpus TEN_MILLION GLUE --stsb GLUE/stsb --out DIR [--teacher DIR]
        [--found BACKBONE] [--speedup 3] [--tokens N] [--seeds 3] [--rate R] [--minutes M] [--quick]

The teacher is all-MiniLM-L6-v2 (6 layers of width 384). The found backbone is the best of
`autobert-zero search --start TEACHER --min-speedup S`, in DIR/search, or `--found`. Its opponents have as
many layers as fit into its latency (2 % more at the most): the teacher's layers evenly over its depth (every
second one, where three fit), its first layers, the hand-made hybrid, and convolutions only. All begin with
what they can inherit from the teacher and are distilled by `autobert-zero distil` with its defaults, the same
sentences, batches and number of tokens, for each seed. Latency is PyTorch's with 32 sentences of 32 tokens,
all models in turns; the score is Spearman's correlation of cosine similarities on STS-B, on which nothing is
trained or chosen: its sentences are left out of the text.

The full run takes 1 M tokens for each student (one found and up to four opponents, for each of three seeds).
With `--tokens 307200` it takes two hours on two cores: 72 minutes for the search and its own comparison, two
to four minutes a student. Each distillation and figure is kept in DIR: the
same call goes on with what is missing, `--minutes` ends a call after the student that takes it beyond.

`--quick` takes minutes and no package or data: a tiny teacher with random weights, the embedded corpus,
made-up pairs, the hybrid in place of a search, a few steps. It shows that the parts run, and nothing about
speed or quality.

Prints one JSON object as its last line: `teacher_spearman`, `found_spearman` (mean over seeds),
`found_speedup` (sentences a second over the teacher's), `best_opponent_spearman`, `found_again` (the
opponents that are the found student itself, which is trained once), and under `models` each model's layers,
milliseconds, sentences a second and scores.
The file is long because one call runs all of its parts.
"""

import argparse
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from kept import Kept
from minilm import find_teacher, finish, say, score, similar_pairs, tiny_teacher, train, write_sentences

import autobert_zero as az
from autobert_zero.cli.backbones import find_backbone
from autobert_zero.data.corpus import open_corpus
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.hf import from_masked_lm
from autobert_zero.hf.encoders import PretrainedEncoder, open_encoder
from autobert_zero.model_comparison.engines import Array, Engine
from autobert_zero.model_comparison.similarity import Pairs
from autobert_zero.model_comparison.speed import measure_latency
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.inherit import inherit_weights
from autobert_zero.space import Backbone
from autobert_zero.space.inheritance import plan_inheritance
from autobert_zero.zoo import bert, convolution, hybrid

LENGTH, BATCH = 32, 32
"""Tokens in a sentence and sentences in a batch, of the latency."""

ALLOWANCE = 1.02
"""How much slower than the found backbone an opponent may be: what the clock cannot tell apart."""

TEXT_LENGTH, TEXT_BATCH = 128, 8
"""Tokens in a packed sequence of sentences, and sequences in a batch, of a distillation."""

STACKS = {"even_layers": bert, "first_layers": bert, "hybrid": hybrid, "convolution": convolution}
"""The opponents: from a depth to their layers."""


def main() -> None:
    """Runs the benchmark and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--corpus", type=Path, nargs="+", help="files, or folders with train.txt[.gz] and train.jsonl"
    )
    parser.add_argument("--stsb", type=Path, help="folder with STS-B's test.jsonl")
    parser.add_argument("--out", type=Path, help="folder where all is kept; a temporary one with --quick")
    parser.add_argument("--teacher", help="folder of a model; default: that of the installed package")
    parser.add_argument("--found", help="a backbone in place of the search")
    parser.add_argument("--speedup", type=float, default=3.0, help="of the search, over the teacher")
    parser.add_argument("--tokens", type=int, help="of each distillation; default: 1,000,000")
    parser.add_argument("--seeds", type=int, help="default: 3")
    parser.add_argument("--rate", type=float, help="learning rate; default: that of distil")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no student is begun")
    parser.add_argument("--quick", action="store_true", help="minutes, without a package or data")
    finish(parser, parser.parse_args(), ("corpus", "stsb", "out"), run)


def run(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Does what is not kept yet, and returns all figures."""
    quick, seeds = options.quick, options.seeds or (1 if options.quick else 3)
    tokens = options.tokens or (30_000 if quick else 1_000_000)
    steps = max(tokens // (TEXT_LENGTH * TEXT_BATCH), 1)
    settings = {
        "benchmark": "from_minilm",
        "quick": quick,
        "steps": steps,
        "speedup": options.speedup,
        "rate": options.rate,
        "found": options.found,
        "teacher": options.teacher,
        "corpus": sorted(path.name for path in options.corpus or ()),
    }
    kept = Kept(out / "results", settings)
    teacher = (
        tiny_teacher(out / "teacher") if quick and not options.teacher else find_teacher(options.teacher)
    )
    encoder, pairs = open_encoder(teacher), similar_pairs(options.stsb)
    corpus = out / "sentences.txt"
    if options.corpus:
        write_sentences(options.corpus, corpus, without=(*pairs.first, *pairs.second))
    elif not corpus.exists():
        write_text(corpus, "\n".join(open_corpus("kjv").paragraphs))
    if "teacher" not in kept:
        kept["teacher"] = score(teacher, pairs)
        say(f"teacher: Spearman {kept['teacher']:.2f} on {pairs.name} {pairs.split}")
    found = find_found(options, teacher, corpus, out)
    if "speed" not in kept:
        kept["speed"] = chosen_depths(found, encoder)
    speed = kept["speed"]
    students = {"found": found} | {
        name: STACKS[name](depth) for name, depth in speed["depths"].items() if depth is not None
    }
    again = found_again(students)
    deadline = time.monotonic() + 60 * options.minutes
    for seed in range(seeds):
        for name, backbone in students.items():
            if f"{name}-seed{seed}" not in kept:
                if name in again:
                    kept[f"{name}-seed{seed}"] = kept[f"found-seed{seed}"]  # the same student
                    continue
                if time.monotonic() > deadline:
                    raise UserError("the minutes are over: give the same call again")
                start = (
                    first_layers(encoder, len(backbone.layers), out) if name == "first_layers" else teacher
                )
                kept[f"{name}-seed{seed}"] = distilled(
                    out / "students" / f"{name}-seed{seed}",
                    backbone,
                    start,
                    teacher,
                    corpus,
                    seed,
                    steps,
                    options,
                    pairs,
                )
                say(f"{name}, seed {seed}: {kept[f'{name}-seed{seed}']}")
    return report(kept, students, encoder.backbone, seeds, steps, pairs, quick)


def found_again(students: dict[str, Backbone]) -> list[str]:
    """The opponents that are the found student itself: the same layers and initial weights."""
    found = students["found"].key()
    return [
        name
        for name, backbone in students.items()
        if name not in ("found", "first_layers") and backbone.key() == found
    ]


def find_found(options: argparse.Namespace, teacher: str, corpus: Path, out: Path) -> Backbone:
    """The backbone that is given, or the best of a search from the teacher."""
    if options.found is not None:
        return find_backbone(options.found)
    if options.quick:
        return hybrid(2)
    folder = out / "search"
    if (folder / "summary.json").exists():
        return find_backbone(str(folder))
    if (folder / "config.yaml").exists():
        return az.search(folder, resume=True)
    # The search is limited by the latency that the opponents are limited by.
    limits = {"limits.latency_batch": BATCH, "limits.latency_length": LENGTH}
    return az.search(folder, corpus=corpus, settings=limits, start=teacher, min_speedup=options.speedup)


def chosen_depths(found: Backbone, encoder: PretrainedEncoder) -> dict[str, Any]:
    """Measures all opponents of all depths, and chooses the deepest as fast as the found one."""
    depths = range(1, len(encoder.backbone.layers))
    models = {"teacher": encoder.backbone, "found": found} | {
        f"{name} {depth}": STACKS[name](depth) for name in STACKS for depth in depths
    }
    # The same layers are measured once, whatever their names.
    measured = latencies({backbone.key(): backbone for backbone in models.values()}, encoder.sizes)
    times = {name: measured[backbone.key()] for name, backbone in models.items()}
    limit = ALLOWANCE * times["found"]
    fits = {name: [depth for depth in depths if times[f"{name} {depth}"] <= limit] for name in STACKS}
    for name, depth in ((name, max(fitting, default=None)) for name, fitting in fits.items()):
        say(f"{name}: {depth or 'no'} layers fit into {times['found']:.1f} ms")
    return {"milliseconds": times, "depths": {name: max(each, default=None) for name, each in fits.items()}}


def latencies(models: dict[str, Backbone], sizes: EncoderConfig) -> dict[str, float]:
    """Median milliseconds of a batch in PyTorch, all models in turns."""

    def engine(backbone: Backbone) -> Engine:
        model = from_masked_lm(MaskedLM(backbone, sizes)).base_model

        @torch.inference_mode()
        def compute(ids: Array, mask: Array) -> Array:
            given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            return np.asarray(model(**given).last_hidden_state)

        return Engine("PyTorch", 0.0, compute)

    made = {name: (engine(backbone), sizes.vocab_size) for name, backbone in models.items()}
    return {name: times[BATCH] for name, times in measure_latency(made, [BATCH], LENGTH).items()}


def first_layers(encoder: PretrainedEncoder, depth: int, out: Path) -> str:
    """The folder of a model with the teacher's first layers."""
    folder = out / f"first_{depth}_layers"
    if not (folder / "config.json").exists():
        backbone = Backbone(encoder.backbone.layers[:depth])
        model = MaskedLM(backbone, encoder.sizes)
        # Layers that are not there are not asked for.
        inherit_weights(model, encoder.weights(), backbone, plan_inheritance(backbone, backbone))
        from_masked_lm(model).base_model.save_pretrained(folder)
        for path in Path(encoder.source).glob("*token*"):
            write_text(folder / path.name, path.read_text("utf-8"))
    return str(folder)


def distilled(
    out: Path,
    backbone: Backbone,
    start: str,
    teacher: str,
    corpus: Path,
    seed: int,
    steps: int,
    options: argparse.Namespace,
    pairs: Pairs,
) -> dict[str, float]:
    """Distils a student, and scores it."""
    settings = [
        f"phases=[{{steps: {steps}, length: {TEXT_LENGTH}, batch_size: {TEXT_BATCH}}}]",
        *(f"report.{name}_every={max(steps // 4, 1)}" for name in ("evaluate", "checkpoint")),
        "report.evaluated_sequences=128",
        *([f"recipe.learning_rate={options.rate}"] if options.rate else []),
    ]
    summary = train(
        out,
        start=start,
        corpus=corpus,
        seed=seed,
        settings=settings,
        teacher=teacher,
        backbone=backbone,
    )
    figures = {name: summary[name] for name in ("holdout_cosine", "seconds")}
    return {"spearman": score(out, pairs), **figures}


def report(
    kept: Kept,
    students: dict[str, Backbone],
    teacher: Backbone,
    seeds: int,
    steps: int,
    pairs: Pairs,
    quick: bool,
) -> dict[str, Any]:
    """All figures."""
    speed = kept["speed"]
    models = {}
    for name, backbone in {"teacher": teacher, **students}.items():
        runs = [kept[f"{name}-seed{seed}"] for seed in range(seeds)] if name != "teacher" else []
        key = name if name in ("teacher", "found") else f"{name} {len(backbone.layers)}"
        time_ = speed["milliseconds"][key]
        models[name] = {
            "layers": backbone.to_list(),
            "milliseconds": round(time_, 2),
            "sentences_per_second": round(1000 * BATCH / time_),
            "spearman": round(fmean(run["spearman"] for run in runs) if runs else kept["teacher"], 2),
            "seeds": [round(run["spearman"], 2) for run in runs],
            "cosine": round(fmean(run["holdout_cosine"] for run in runs), 4) if runs else 1.0,
        }
    opponents = [models[name]["spearman"] for name in STACKS if name in models]
    return {
        "benchmark": "from_minilm",
        "quick": quick,
        "task": f"{pairs.name} {pairs.split}",
        "tokens": steps * TEXT_LENGTH * TEXT_BATCH,
        "teacher_spearman": models["teacher"]["spearman"],
        "found_spearman": models["found"]["spearman"],
        "found_speedup": round(models["teacher"]["milliseconds"] / models["found"]["milliseconds"], 2),
        "best_opponent_spearman": max(opponents) if opponents else None,
        "found_again": found_again(students),
        "models": models,
    }


if __name__ == "__main__":
    main()
