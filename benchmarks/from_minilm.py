"""From MiniLM to a faster encoder: what the search found against layers chosen by hand, at equal latency.

    python benchmarks/from_minilm.py --corpus TEN_MILLION GLUE --stsb GLUE/stsb --out DIR [--teacher DIR]
        [--found BACKBONE --feed-forward N] [--speedup S] [--tokens N] [--seeds 3] [--rate R] [--minutes M]
        [--quick]

The teacher is all-MiniLM-L6-v2 (6 layers of width 384). The found backbone is the best of
`autobert-zero search --start TEACHER --min-speedup S`, in DIR/search, or `--found`. Its opponents have the
teacher's feed-forward blocks, and the number of layers whose latency is nearest to its own (so some are up
to half a layer slower, which is in their favour): the teacher's layers evenly over its depth, its first
layers, the hand-made hybrid, and convolutions only. All begin with what they can inherit from the teacher and
are distilled by `autobert-zero distil` with its defaults, the same sentences, batches and number of tokens,
for each seed. Latency is PyTorch's with 32 sentences of 32 tokens, all models in turns; the score is
Spearman's correlation of cosine similarities on STS-B, on which nothing is trained or chosen: its sentences
are left out of the text.

The full run takes 1 M tokens for each student (one found and up to four opponents, for each of three seeds).
Each distillation and figure is kept in DIR: the same call goes on with what is missing, `--minutes` ends a
call after the student that takes it beyond.

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
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from minilm import find_teacher, finish, say, score, similar_pairs, tiny_teacher, train, write_sentences
from result_store import ResultStore

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
from autobert_zero.search.comparison import Model
from autobert_zero.search.presets import PRESETS
from autobert_zero.search_runs.prepare import prepare
from autobert_zero.search_runs.start_model import model_settings
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone
from autobert_zero.space.inheritance import plan_inheritance
from autobert_zero.zoo import bert, convolution, hybrid

LENGTH, BATCH = 32, 32
"""Tokens in a sentence and sentences in a batch, of the latency."""

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
    parser.add_argument("--feed-forward", type=int, help="width of its feed-forward blocks; default: all")
    parser.add_argument(
        "--speedup",
        type=float,
        default=3.15,
        help="of the search, over the teacher's layers; with the rest 3",
    )
    parser.add_argument("--tokens", type=int, help="of each distillation; default: 1,000,000")
    parser.add_argument("--seeds", type=int, help="default: 3")
    parser.add_argument("--rate", type=float, help="learning rate; default: that of distil")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no student is begun")
    parser.add_argument("--quick", action="store_true", help="minutes, without a package or data")
    finish(parser, parser.parse_args(), ("corpus", "stsb", "out"), run)


def run(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Measures and distils what is missing, and returns all figures."""
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
        "feed_forward": options.feed_forward,
        "teacher": options.teacher,
        "corpus": sorted(path.name for path in options.corpus or ()),
    }
    store = ResultStore(out / "results", settings)
    teacher = (
        tiny_teacher(out / "teacher") if quick and not options.teacher else find_teacher(options.teacher)
    )
    encoder, pairs = open_encoder(teacher), similar_pairs(options.stsb)
    corpus = out / "sentences.txt"
    if options.corpus:
        write_sentences(options.corpus, corpus, without=(*pairs.first, *pairs.second))
    elif not corpus.exists():
        write_text(corpus, "\n".join(open_corpus("kjv").paragraphs))
    if "teacher" not in store:
        store["teacher"] = {"spearman": score(teacher, pairs)}
        say(f"teacher: Spearman {store['teacher']['spearman']:.2f} on {pairs.name} {pairs.split}")
    found = find_found(options, encoder, corpus, out)
    if "speed" not in store:
        store["speed"] = choose_depths(found, encoder)
    speed = store["speed"]
    students = {"found": found} | {
        name: Model(STACKS[name](depth), encoder.sizes) for name, depth in speed["depths"].items()
    }
    again = found_again(students)
    deadline = time.monotonic() + 60 * options.minutes
    for seed in range(seeds):
        for name, student in students.items():
            if f"{name}-seed{seed}" not in store:
                if name in again:
                    store[f"{name}-seed{seed}"] = store[f"found-seed{seed}"]  # the same student
                    continue
                if time.monotonic() > deadline:
                    raise UserError("the minutes are over: give the same call again")
                start = teacher
                if name == "first_layers":
                    start = first_layers(encoder, len(student.backbone.layers), out)
                elif student.sizes.inner != encoder.sizes.inner:
                    start = narrowed(encoder, student.sizes, corpus, out)
                store[f"{name}-seed{seed}"] = distilled(
                    out / "students" / f"{name}-seed{seed}",
                    student.backbone,
                    start,
                    teacher,
                    corpus,
                    seed,
                    steps,
                    options,
                    pairs,
                )
                say(f"{name}, seed {seed}: {store[f'{name}-seed{seed}']}")
    own = Model(encoder.backbone, encoder.sizes)
    return report(store, students, own, seeds, steps, pairs, quick)


def layers_key(model: Model) -> str:
    """A key that is equal for models of the same layers and sizes."""
    return f"{model.backbone.key()} {model.sizes.inner}"


def found_again(students: dict[str, Model]) -> list[str]:
    """The opponents that are the found student itself: the same layers and initial weights."""
    found = layers_key(students["found"])
    return [
        name
        for name, student in students.items()
        if name not in ("found", "first_layers") and layers_key(student) == found
    ]


def find_found(options: argparse.Namespace, encoder: PretrainedEncoder, corpus: Path, out: Path) -> Model:
    """The student named by the options, or the best of a search from the teacher."""
    if options.found is not None or options.quick:
        found = find_backbone(options.found) if options.found else hybrid(2)
        inner = options.feed_forward or encoder.sizes.inner // (2 if options.quick else 1)
        return Model(found, replace(encoder.sizes, feed_forward=inner))
    folder = out / "search"
    if not (folder / "config.yaml").exists():
        # The search is limited by the latency that the opponents are limited by.
        limits = {"limits.latency_batch": BATCH, "limits.latency_length": LENGTH}
        speedup, start = options.speedup, encoder.source
        az.search(folder, corpus=corpus, settings=limits, start=start, min_speedup=speedup)
    elif not (folder / "summary.json").exists():
        az.search(folder, resume=True)
    inner = open_encoder(str(folder / "final")).sizes.inner
    return Model(find_backbone(str(folder)), replace(encoder.sizes, feed_forward=inner))


def choose_depths(found: Model, encoder: PretrainedEncoder) -> dict[str, Any]:
    """Measures opponents of all depths, and chooses the depths whose latency is nearest to the student's."""
    depths = range(1, len(encoder.backbone.layers))
    models = {"teacher": Model(encoder.backbone, encoder.sizes), "found": found} | {
        f"{name} {depth}": Model(STACKS[name](depth), encoder.sizes) for name in STACKS for depth in depths
    }
    # The same layers are measured once, whatever their names.
    measured = latencies({layers_key(model): model for model in models.values()})
    times = {name: measured[layers_key(model)] for name, model in models.items()}
    chosen = {
        name: min(depths, key=lambda depth: abs(times[f"{name} {depth}"] - times["found"])) for name in STACKS
    }
    for name, depth in chosen.items():
        say(f"{name}: {depth} layers take {times[f'{name} {depth}']:.1f} ms, found {times['found']:.1f}")
    return {"milliseconds": times, "depths": chosen}


def latencies(models: dict[str, Model]) -> dict[str, float]:
    """Median milliseconds of a batch in PyTorch, all models in turns."""

    def engine(student: Model) -> Engine:
        model = from_masked_lm(MaskedLM(student.backbone, student.sizes)).base_model

        @torch.inference_mode()
        def compute(ids: Array, mask: Array) -> Array:
            inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            return np.asarray(model(**inputs).last_hidden_state)

        return Engine("PyTorch", 0.0, compute)

    made = {name: (engine(model), model.sizes.vocab_size) for name, model in models.items()}
    return {name: times[BATCH] for name, times in measure_latency(made, [BATCH], LENGTH).items()}


def first_layers(encoder: PretrainedEncoder, depth: int, out: Path) -> str:
    """The folder of a model with the teacher's first layers."""
    folder = out / f"first_{depth}_layers"
    if not (folder / "config.json").exists():
        backbone = Backbone(encoder.backbone.layers[:depth])
        model = MaskedLM(backbone, encoder.sizes)
        # Layers beyond the depth are not read from the weights.
        inherit_weights(model, encoder.weights(), backbone, plan_inheritance(backbone, backbone))
        save_start(model, encoder, folder)
    return str(folder)


def narrowed(encoder: PretrainedEncoder, sizes: EncoderConfig, corpus: Path, out: Path) -> str:
    """The folder of the teacher with narrower feed-forward blocks, as a search narrows them."""
    folder = out / f"feed_forward_{sizes.inner}"
    if not (folder / "config.json").exists():
        text = {"data": {"corpus": str(corpus)}, "model": {"feed_forward": sizes.inner}}
        start = prepare(resolve(PRESETS["demo"](), model_settings(encoder.source), text)).start
        assert start is not None
        model = MaskedLM(encoder.backbone, sizes)
        model.load_state_dict(start.student_weights, strict=False)  # the teacher has no head
        save_start(model, encoder, folder)
    return str(folder)


def save_start(model: MaskedLM, encoder: PretrainedEncoder, folder: Path) -> None:
    """Saves a model without its head, with the teacher's tokenizer."""
    from_masked_lm(model).base_model.save_pretrained(folder)
    for path in Path(encoder.source).glob("*token*"):
        write_text(folder / path.name, path.read_text("utf-8"))


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
    store: ResultStore,
    students: dict[str, Model],
    teacher: Model,
    seeds: int,
    steps: int,
    pairs: Pairs,
    quick: bool,
) -> dict[str, Any]:
    """Collects all figures."""
    speed = store["speed"]
    models = {}
    for name, student in {"teacher": teacher, **students}.items():
        runs = [store[f"{name}-seed{seed}"] for seed in range(seeds)] if name != "teacher" else []
        key = name if name in ("teacher", "found") else f"{name} {len(student.backbone.layers)}"
        time_ = speed["milliseconds"][key]
        models[name] = {
            "layers": student.backbone.to_list(),
            "feed_forward": student.sizes.inner,
            "milliseconds": round(time_, 2),
            "sentences_per_second": round(1000 * BATCH / time_),
            "spearman": round(
                fmean(run["spearman"] for run in runs) if runs else store["teacher"]["spearman"], 2
            ),
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
