"""Five backbones of one depth and width, pre-trained with one recipe, then fine-tuned on tasks of GLUE.

    python benchmarks/backbones_on_glue.py --corpus BOOKS --glue GLUE --out OUT [--repeats 1] [--quick]

BOOKS is tens of megabytes of text; GLUE holds a folder for each task, as `autobert-zero glue` takes them.
The backbones: BERT; the hand-made hybrid; convolutions only; the first and the last two layers of the
published AutoBERT-Zero-base; the best that our search found with the small preset. 4 layers, width 128,
otherwise the small preset of pre-training: 30.3 M tokens each, the first 4.1 M in sequences of 16 tokens,
the rest of 128. Every task: the rates with the first seed, the best of them with the other seeds. Beside
SST-2, a logistic regression on bags of words and pairs of words. Each repeat pre-trains the backbone with
another seed, for the spread of the loss and of two tasks over pre-trainings. What is in OUT already is read,
not trained again: the script continues where it was stopped. Prints one JSON object as its last line.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from autobert_zero.config import resolve
from autobert_zero.finetune.config import Settings
from autobert_zero.finetune.suite import Score, finetune
from autobert_zero.pretrain.presets import small
from autobert_zero.pretrain.run import run_pretraining
from autobert_zero.progress import Bars
from autobert_zero.space import Backbone
from autobert_zero.zoo import STACKS, ZOO

DEPTH, WIDTH = 4, 128
RATE = 2e-3
"""Of pre-training: the one of 1e-3, 2e-3 and 3e-3 that is best for BERT. The others have no choice."""
PUBLISHED = ZOO["autobert-zero-base"].backbone.layers
BACKBONES = {
    **{name: STACKS[name](DEPTH) for name in ("bert", "hybrid", "convolution")},
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


@dataclass(frozen=True)
class Setting:
    """What all rows share: the data, the folder for the results, and whether it is done on less work."""

    corpus: str
    glue: Path
    out: Path
    quick: bool

    @property
    def rates(self) -> tuple[float, ...]:
        return RATES[-1:] if self.quick else RATES

    @property
    def seeds(self) -> range:
        return range(2 if self.quick else 3)


def folder(name: str, seed: int) -> str:
    """Where a pre-training and its tasks are kept."""
    return name if seed == 0 else f"{name}-{seed}"


def pretrained(name: str, seed: int, setting: Setting, progress: Bars) -> dict[str, Any]:
    """The summary of a pre-training, which is done if it is not."""
    preset = small(BACKBONES[name])
    changes: dict[str, Any] = {
        "seed": seed,
        "text": {"corpus": setting.corpus},
        "model": {"width": WIDTH},
        "recipe": {"learning_rate": RATE},
    }
    if setting.quick:
        changes["phases"] = [{**phase.model_dump(), "steps": 150} for phase in preset.phases]
    return run_pretraining(resolve(preset, changes), setting.out / folder(name, seed), progress)


def scored(name: str, seed: int, task: str, pooling: str, setting: Setting, progress: Bars) -> Score:
    """The score of a pre-trained model on a task, fine-tuned if it is not."""
    steps = 50 if setting.quick else SST2_STEPS if task == "sst2" else 0
    return finetune(
        setting.out / folder(name, seed),
        task,
        setting.glue / task,
        setting.out / "glue" / folder(name, seed) / key(task, pooling),
        setting.rates if pooling == "cls" else RATES[-1:],
        setting.seeds,
        replace(SETTINGS, steps=steps, pooling=pooling),
        progress,
    )


def key(task: str, pooling: str) -> str:
    """Name of a task in the results."""
    return task if pooling == "cls" else f"{task}-{pooling}"


def row(name: str, seed: int, setting: Setting, progress: Bars) -> dict[str, Any]:
    """A backbone's figures. Repeats are for the tasks that say something, with the better pooling."""
    summary = pretrained(name, seed, setting, progress)
    tasks: list[tuple[str, str]] = [(task, "mean") for task in POOLED]
    if seed == 0:
        tasks = [*((task, "cls") for task in TASKS), *tasks]
    scores = {
        key(task, pooling): scored(name, seed, task, pooling, setting, progress) for task, pooling in tasks
    }
    return {
        "backbone": BACKBONES[name].to_list(),
        "parameters": summary["parameters"],
        "tokens": summary["tokens"],
        "loss": summary["holdout_loss"],
        "mlm_accuracy": summary["holdout_mlm_accuracy"],
        "tasks": {
            task: {"rate": score.rate, "mean": score.mean, "spread": score.spread}
            for task, score in scores.items()
        },
    }


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--glue", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(BACKBONES), choices=list(BACKBONES))
    parser.add_argument("--repeats", type=int, default=0, help="further pre-trainings of each, other seeds")
    parser.add_argument(
        "--quick", action="store_true", help="300 steps of pre-training, 50 on each task, 2 seeds, 1 rate"
    )
    arguments = parser.parse_args()
    setting = Setting(arguments.corpus, arguments.glue, arguments.out, arguments.quick)
    with Bars(Console(stderr=True)) as progress:
        rows = {
            folder(name, seed): row(name, seed, setting, progress)
            for seed in range(arguments.repeats + 1)
            for name in arguments.only
        }
    print(
        json.dumps(
            {
                "benchmark": "backbones_on_glue",
                "rows": rows,
                "sst2_bag_of_words": round(bag_of_words(setting.glue / "sst2"), 4),
                "seeds": len(setting.seeds),
                "rates": list(setting.rates),
            }
        )
    )


if __name__ == "__main__":
    main()
