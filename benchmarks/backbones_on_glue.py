"""Five backbones of one depth and width, pre-trained with one recipe, then fine-tuned on tasks of GLUE.

    python benchmarks/backbones_on_glue.py --corpus BOOKS --glue GLUE --out OUT [--quick]

BOOKS is tens of megabytes of text; GLUE holds a folder for each task, as `autobert-zero glue` takes them.
The backbones: BERT; the hand-made hybrid; convolutions only; the first and the last two layers of the
published AutoBERT-Zero-base; the best that our search found with the small preset. 4 layers, width 128,
otherwise the small preset of pre-training: 30.3 M tokens each, the first 4.1 M in sequences of 16 tokens,
the rest of 128. Every task: the rates with the first seed, the best of them with the other seeds. Beside
SST-2, a logistic regression on bags of words and pairs of words. What is in OUT already is read, not trained
again: the script continues where it was stopped. Prints one JSON object as its last line.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from autobert_zero.config import resolve
from autobert_zero.finetune.suite import finetune
from autobert_zero.finetune.train import Settings
from autobert_zero.pretrain.presets import small
from autobert_zero.pretrain.run import run_pretraining
from autobert_zero.progress import Bars
from autobert_zero.space import Backbone
from autobert_zero.zoo import OPPONENTS, ZOO

DEPTH, WIDTH = 4, 128
RATE = 2e-3
"""Of pre-training: the one of 1e-3, 2e-3 and 3e-3 that is best for BERT. The others have no choice."""
PUBLISHED = ZOO["autobert-zero-base"].backbone.layers
BACKBONES = {
    **{name: build(DEPTH) for name, build in OPPONENTS.items()},
    "published": Backbone((*PUBLISHED[:2], *PUBLISHED[-2:])),
    "found": Backbone.parse("conv 5\nconv 15\nconv 31\nconv 3"),
}
TASKS = ("cola", "sst2", "mrpc", "rte", "stsb")
POOLED = ("cola", "sst2")
"""Tasks of single sentences, also with the mean of all tokens instead of the first, at the higher rate."""
RATES = (3e-4, 1e-3)
SETTINGS = Settings(epochs=3, batch_size=32, length=128)
SST2_STEPS = 1000
"""SST-2 has several times the sentences of all the others together, most of them short; half are enough."""


def bag_of_words(folder: Path) -> float:
    """Accuracy on SST-2 of a logistic regression on counts of words and pairs of words."""
    texts: dict[str, list[str]] = {}
    labels: dict[str, list[int]] = {}
    for split in ("train", "validation"):
        rows = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text("utf-8").splitlines()]
        texts[split], labels[split] = [r["sentence"] for r in rows], [r["label"] for r in rows]
    counts = CountVectorizer(ngram_range=(1, 2), min_df=2)
    model = LogisticRegression(max_iter=1000).fit(counts.fit_transform(texts["train"]), labels["train"])
    return float(model.score(counts.transform(texts["validation"]), labels["validation"]))


def pretrained(name: str, corpus: str, out: Path, quick: bool, progress: Bars) -> dict[str, Any]:
    """The summary of a pre-training, which is done if it is not."""
    preset = small(BACKBONES[name])
    changes: dict[str, Any] = {
        "text": {"corpus": corpus},
        "model": {"width": WIDTH},
        "recipe": {"learning_rate": RATE},
    }
    if quick:
        changes["phases"] = [{**phase.model_dump(), "steps": 150} for phase in preset.phases]
    config = resolve(preset, changes)
    return run_pretraining(config, out / name, progress)


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--glue", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(BACKBONES), choices=list(BACKBONES))
    parser.add_argument(
        "--quick", action="store_true", help="300 steps of pre-training, 50 on each task, 2 seeds, 1 rate"
    )
    arguments = parser.parse_args()
    quick, out = arguments.quick, arguments.out
    rates, seeds = (RATES[-1:], range(2)) if quick else (RATES, range(3))
    rows: dict[str, Any] = {}
    with Bars(Console(stderr=True)) as progress:
        for name in arguments.only:
            summary = pretrained(name, arguments.corpus, out, quick, progress)
            row: dict[str, Any] = {
                "backbone": BACKBONES[name].to_list(),
                "parameters": summary["parameters"],
                "tokens": summary["tokens"],
                "loss": summary["holdout_loss"],
                "mlm_accuracy": summary["holdout_mlm_accuracy"],
                "tasks": {},
            }
            for task, pooling in (*((task, "cls") for task in TASKS), *((task, "mean") for task in POOLED)):
                steps = 50 if quick else SST2_STEPS if task == "sst2" else 0
                key = task if pooling == "cls" else f"{task}-{pooling}"
                score = finetune(
                    out / name,
                    task,
                    arguments.glue / task,
                    out / "glue" / name / key,
                    rates if pooling == "cls" else RATES[-1:],
                    seeds,
                    replace(SETTINGS, steps=steps, pooling=pooling),
                    progress,
                )
                row["tasks"][key] = {"rate": score.rate, "mean": score.mean, "spread": score.spread}
            rows[name] = row
    print(
        json.dumps(
            {
                "benchmark": "backbones_on_glue",
                "rows": rows,
                "sst2_bag_of_words": round(bag_of_words(arguments.glue / "sst2"), 4),
                "seeds": len(seeds),
                "rates": list(rates),
            }
        )
    )


if __name__ == "__main__":
    main()
