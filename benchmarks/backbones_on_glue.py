"""Five backbones of one depth and width, pre-trained with one recipe, then fine-tuned on tasks of GLUE.

    python benchmarks/backbones_on_glue.py --corpus BOOKS --glue GLUE --out OUT [--blimp BLIMP]
        [--wnut WNUT17] [--repeats 1] [--quick]

BOOKS is tens of megabytes of text; GLUE holds a folder of `.jsonl` files for each task, as `autobert-zero
glue` takes them; BLIMP is a file or folder of minimal pairs, WNUT17 the folder of the task of that name. Test
splits that have labels (the official one of STS-B) are scored beside validation. Of more than 10,000 training
examples of MNLI and QQP 10,000 are taken, spread over all; of MNLI the matched validation split.
The backbones: BERT; the hand-made hybrid; convolutions only; the first and the last two layers of the
published AutoBERT-Zero-base; the best that our search found with the small preset. 4 layers, width 128,
otherwise the small preset of pre-training: 30.3 M tokens each, the first 4.1 M in sequences of 16 tokens,
the rest of 128. Every task: the rates with the first seed, the poolings at the best of them, the best of all
with the other seeds. Beside the backbones, the trivial predictors of each task. Each repeat pre-trains the
backbone with another seed, for the spread of the loss and of two tasks over pre-trainings. What is in OUT
already is read, not trained again: the script continues where it was stopped. Prints the table of each
backbone, and one JSON object as its last line.
The file is long because one call runs all of its parts.
"""

import argparse
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from autobert_zero.devices import find_device
from autobert_zero.files import write_text
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.results.scores import Score, score_table
from autobert_zero.finetune.suite import finetune_task
from autobert_zero.minimal_pairs.data import Pair, read_pairs, subset
from autobert_zero.minimal_pairs.measure import TokenisedPairs
from autobert_zero.minimal_pairs.models import open_scored
from autobert_zero.pretrain.presets import small_pretraining
from autobert_zero.pretrain.run import run_pretraining
from autobert_zero.progress import Bars, quiet_transformers
from autobert_zero.settings import resolve
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
TASKS = ("cola", "sst2", "mrpc", "rte", "stsb", "qqp", "mnli")
REPEATED = ("cola", "sst2")
"""Tasks of the repeats."""
SAMPLED = ("qqp", "mnli")
EXAMPLES, QUICK_EXAMPLES = 10_000, 1000
"""Maximum number of training examples of `SAMPLED`, and with `--quick` of every split of every task."""
MNLI = """columns: [premise, hypothesis]
labels: [entailment, neutral, contradiction]
metrics: [accuracy]
validation: [validation_matched]
test: [test_matched]
"""
RATES = (3e-4, 1e-3)
SST2_STEPS = 1000
"""SST-2 has several times the sentences of all the others together, most of them short; half are enough."""
QUICK_PAIRS = 670


@dataclass(frozen=True)
class Setting:
    """What all rows share: the data, the folder for the results, and whether it is done on less work."""

    corpus: str
    glue: Path
    out: Path
    quick: bool
    blimp: Path | None
    wnut: Path | None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose data are there."""
        return (*TASKS, *(() if self.wnut is None else ("wnut17",)))

    @cached_property
    def pairs(self) -> list[Pair]:
        """The minimal pairs; none without a file."""
        pairs = [] if self.blimp is None else read_pairs([self.blimp])
        return subset(pairs, QUICK_PAIRS) if self.quick else pairs

    def data(self, task: str) -> Path:
        """The folder of a task's files, sampled where that is wanted; made once."""
        if task == "wnut17" and self.wnut is not None:
            return self.wnut
        if not self.quick and task not in SAMPLED:
            return self.glue / task
        folder = self.out / "data" / task
        for source in sorted((self.glue / task).glob("*.jsonl")):
            target = folder / source.name
            if target.exists():
                continue
            lines = source.read_text("utf-8").splitlines(keepends=True)
            limit = QUICK_EXAMPLES if self.quick else EXAMPLES if source.stem == "train" else len(lines)
            places = np.linspace(0, len(lines) - 1, min(limit, len(lines))).astype(int)
            write_text(target, "".join(lines[place] for place in places))
        return folder

    def task(self, name: str) -> str:
        """What `finetune` calls a task: MNLI's second validation split need not be there."""
        if name != "mnli":
            return name
        path = self.out / "data" / "mnli.yaml"
        write_text(path, MNLI)
        return str(path)

    @property
    def rates(self) -> tuple[float, ...]:
        return RATES[-1:] if self.quick else RATES

    @property
    def seeds(self) -> int:
        return 2 if self.quick else 3


def folder(name: str, seed: int) -> str:
    """Where a pre-training and its tasks are kept."""
    return name if seed == 0 else f"{name}-{seed}"


def pretrained(name: str, seed: int, setting: Setting, progress: Bars) -> dict[str, Any]:
    """The summary of a pre-training, which is done if it is not."""
    preset = small_pretraining(BACKBONES[name])
    changes: dict[str, Any] = {
        "seed": seed,
        "data": {"corpus": setting.corpus},
        "model": {"width": WIDTH},
        "recipe": {"learning_rate": RATE},
    }
    if setting.quick:
        changes["phases"] = [{**phase.model_dump(), "steps": 150} for phase in preset.phases]
    return run_pretraining(resolve(preset, changes), setting.out / folder(name, seed), progress)


def scored(name: str, seed: int, task: str, setting: Setting, progress: Bars) -> Score:
    """The score of a pre-trained model on a task, fine-tuned if it is not."""
    steps = 50 if setting.quick else SST2_STEPS if task == "sst2" else 0
    return finetune_task(
        setting.out / folder(name, seed),
        setting.task(task),
        setting.data(task),
        setting.out / "glue" / folder(name, seed) / task,
        FinetuneConfig(
            rates=setting.rates,
            seeds=setting.seeds,
            batch_size=32,
            length=128,
            steps=steps,
            pooling=None if setting.quick else "auto",
            keep="none",
        ),
        progress,
    )


def grammar(model: Path, setting: Setting) -> dict[str, Any] | None:
    """The accuracy of a pre-trained model on the minimal pairs, measured if it is not."""
    if not setting.pairs:
        return None
    path = model / "blimp.json"
    if not path.exists():
        opened = open_scored(str(model))
        opened.model.to(find_device("auto")).eval()
        pairs = TokenisedPairs(setting.pairs, opened.tokenizer, opened.positions)
        write_text(path, json.dumps(pairs.measure(opened.model).overall.plain()) + "\n")
    return json.loads(path.read_text("utf-8"))


def row(name: str, seed: int, setting: Setting, progress: Bars) -> tuple[dict[str, Any], list[Score]]:
    """A backbone's figures, and the scores among them. Repeats are for the tasks that say something."""
    summary = pretrained(name, seed, setting, progress)
    tasks = setting.tasks if seed == 0 else REPEATED
    scores = [scored(name, seed, task, setting, progress) for task in tasks]
    return {
        "backbone": BACKBONES[name].to_list(),
        "parameters": summary["parameters"],
        "tokens": summary["tokens"],
        "loss": summary["holdout_loss"],
        "mlm_accuracy": summary["holdout_mlm_accuracy"],
        "blimp": grammar(setting.out / folder(name, seed), setting),
        "tasks": {score.task: figures(score) for score in scores},
    }, scores


def figures(score: Score) -> dict[str, Any]:
    """What is kept of a task: of validation and, where it has labels, of test."""
    names = ("rate", "pooling", "mean", "spread", "test", "test_spread", "constant")
    return {name: getattr(score, name) for name in names}


def trivial_rows(scores: list[Score]) -> dict[str, Any]:
    """The figures of the trivial predictors, each a row as of a backbone: by task, then by split."""
    rows: dict[str, Any] = {}
    for score in scores:
        for split, predictors in score.trivial.items():
            for name, metrics in predictors.items():
                rows.setdefault(name, {}).setdefault(score.task, {})[split] = metrics
    return rows


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--glue", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--blimp", type=Path, help="minimal pairs, for a column without fine-tuning")
    parser.add_argument("--wnut", type=Path, help="folder of WNUT-17, for a column of entities")
    parser.add_argument("--only", nargs="*", default=list(BACKBONES), choices=list(BACKBONES))
    parser.add_argument("--repeats", type=int, default=0, help="further pre-trainings of each, other seeds")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="300 steps of pre-training, 50 on each task, 2 seeds, 1 rate, 1 pooling, 1,000 examples a split",
    )
    arguments = parser.parse_args()
    setting = Setting(
        arguments.corpus, arguments.glue, arguments.out, arguments.quick, arguments.blimp, arguments.wnut
    )
    quiet_transformers()
    rows: dict[str, Any] = {}
    trivial: dict[str, Any] = {}
    with Bars(Console(stderr=True)) as progress:
        for seed in range(arguments.repeats + 1):
            for name in arguments.only:
                key = folder(name, seed)
                rows[key], scores = row(name, seed, setting, progress)
                trivial = trivial or trivial_rows(scores)
                print(f"\n{key}\n\n{score_table(scores)}")
    print(
        json.dumps(
            {
                "benchmark": "backbones_on_glue",
                "rows": rows,
                "trivial": trivial,
                "seeds": setting.seeds,
                "rates": list(setting.rates),
            }
        )
    )


if __name__ == "__main__":
    main()
