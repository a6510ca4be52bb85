"""Backbones of one depth and width, pre-trained with one recipe, then fine-tuned on tasks of GLUE.

    python benchmarks/backbones_on_glue.py --corpus BOOKS --glue GLUE --out OUT [--blimp BLIMP]
        [--wnut WNUT17] [--repeats 1] [--quick]

BOOKS is tens of megabytes of text; GLUE holds a folder of `.jsonl` files for each task, as `autobert-zero
glue` takes them; BLIMP is a file or folder of minimal pairs, WNUT17 the folder of the task of that name. Test
splits that have labels (the official one of STS-B) are scored beside validation. Of more than 10,000 training
examples of MNLI and QQP 10,000 are taken, spread over all; of MNLI the matched validation split.
The backbones in BERT's trunk: BERT; the hand-made hybrid; convolutions only; the first and the last two
layers of the published AutoBERT-Zero-base; what the preset small found in the paper's space. In the modern
trunk: rotary attention, and what the preset small finds in the modern space. 4 layers, width 128, otherwise
the small preset of pre-training: 30.3 M tokens each, the first 4.1 M in sequences of 16 tokens, the rest of
128. Every task: the rates with the first seed, the poolings at the best of them, the best of all with the
other seeds. Beside the backbones, the trivial predictors of each task. Each repeat pre-trains the backbone
with another seed, for the spread of the loss and of two tasks over pre-trainings. What is in OUT already is
read, not trained again: the script continues where it was stopped. Prints the table of each backbone, and one
JSON object as its last line.
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
from autobert_zero.zoo.trunks import MODERN_TRUNK

DEPTH, WIDTH = 4, 128
RATE = 2e-3
"""Of pre-training: the one of 1e-3, 2e-3 and 3e-3 that is best for BERT. The others have no choice."""
PUBLISHED = ZOO["autobert-zero-base"].backbone.layers
BACKBONES = {
    **{
        name: STACKS[name](DEPTH) for name in ("bert", "hybrid", "convolution", "rotary", "gated-convolution")
    },
    "published": Backbone((*PUBLISHED[:2], *PUBLISHED[-2:])),
    "found": Backbone.parse("conv 5\nconv 15\nconv 31\nconv 3"),
}
MODERN = ("rotary", "gated-convolution")
"""Backbones that are trained in the modern trunk."""
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
class Study:
    """What all rows have in common.

    Attributes:
        corpus: Text of the pre-trainings.
        glue: Folder with one sub-folder per task.
        out: Folder for everything that is kept.
        quick: Whether to do less work.
        blimp: File or folder of minimal pairs; None measures none.
        wnut: Folder of WNUT-17; None leaves the task out.
    """

    corpus: str
    glue: Path
    out: Path
    quick: bool
    blimp: Path | None
    wnut: Path | None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks to fine-tune on."""
        return (*TASKS, *(() if self.wnut is None else ("wnut17",)))

    @cached_property
    def pairs(self) -> list[Pair]:
        """The minimal pairs; empty without a file."""
        pairs = [] if self.blimp is None else read_pairs([self.blimp])
        return subset(pairs, QUICK_PAIRS) if self.quick else pairs

    def data(self, task: str) -> Path:
        """The folder of a task's files; where only a sample is used, it is written first."""
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
            indices = np.linspace(0, len(lines) - 1, min(limit, len(lines))).astype(int)
            write_text(target, "".join(lines[index] for index in indices))
        return folder

    def task(self, name: str) -> str:
        """The name of a task, or for MNLI a task file without the second validation split."""
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
    """The folder name of a pre-training and its tasks."""
    return name if seed == 0 else f"{name}-{seed}"


def pretrained(name: str, seed: int, study: Study, progress: Bars) -> dict[str, Any]:
    """The summary of a pre-training, which is run or continued if it is not finished."""
    preset = small_pretraining(BACKBONES[name])
    changes: dict[str, Any] = {
        "seed": seed,
        "data": {"corpus": study.corpus},
        "model": {"width": WIDTH, **(MODERN_TRUNK if name in MODERN else {})},
        "recipe": {"learning_rate": RATE},
    }
    if study.quick:
        changes["phases"] = [{**phase.model_dump(), "steps": 150} for phase in preset.phases]
    return run_pretraining(resolve(preset, changes), study.out / folder(name, seed), progress)


def scored(name: str, seed: int, task: str, study: Study, progress: Bars) -> Score:
    """The score of a pre-trained model on a task; the fine-tuning is run if it is not finished."""
    steps = 50 if study.quick else SST2_STEPS if task == "sst2" else 0
    return finetune_task(
        study.out / folder(name, seed),
        study.task(task),
        study.data(task),
        study.out / "glue" / folder(name, seed) / task,
        FinetuneConfig(
            rates=study.rates,
            seeds=study.seeds,
            batch_size=32,
            length=128,
            steps=steps,
            pooling=None if study.quick else "auto",
            keep="none",
        ),
        progress,
    )


def minimal_pairs(model: Path, study: Study) -> dict[str, Any] | None:
    """The accuracy of a pre-trained model on the minimal pairs, measured once; None without pairs."""
    if not study.pairs:
        return None
    path = model / "blimp.json"
    if not path.exists():
        opened = open_scored(str(model))
        opened.model.to(find_device("auto")).eval()
        pairs = TokenisedPairs(study.pairs, opened.tokenizer, opened.positions)
        write_text(path, json.dumps(pairs.measure(opened.model).overall.to_dict()) + "\n")
    return json.loads(path.read_text("utf-8"))


def row(name: str, seed: int, study: Study, progress: Bars) -> tuple[dict[str, Any], list[Score]]:
    """The figures of a backbone, and its scores; seeds after the first run the tasks of `REPEATED` only."""
    summary = pretrained(name, seed, study, progress)
    tasks = study.tasks if seed == 0 else REPEATED
    scores = [scored(name, seed, task, study, progress) for task in tasks]
    return {
        "backbone": BACKBONES[name].to_list(),
        "parameters": summary["parameters"],
        "tokens": summary["tokens"],
        "loss": summary["holdout_loss"],
        "mlm_accuracy": summary["holdout_mlm_accuracy"],
        "blimp": minimal_pairs(study.out / folder(name, seed), study),
        "tasks": {score.task: figures(score) for score in scores},
    }, scores


def figures(score: Score) -> dict[str, Any]:
    """The figures of a task: of validation splits and of test splits with labels."""
    names = ("rate", "pooling", "mean", "spread", "test", "test_spread", "constant")
    return {name: getattr(score, name) for name in names}


def trivial_rows(scores: list[Score]) -> dict[str, Any]:
    """The metrics of the trivial predictors, by predictor, task and split."""
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
    study = Study(
        arguments.corpus, arguments.glue, arguments.out, arguments.quick, arguments.blimp, arguments.wnut
    )
    quiet_transformers()
    rows: dict[str, Any] = {}
    trivial: dict[str, Any] = {}
    with Bars(Console(stderr=True)) as progress:
        for seed in range(arguments.repeats + 1):
            for name in arguments.only:
                key = folder(name, seed)
                rows[key], scores = row(name, seed, study, progress)
                trivial = trivial or trivial_rows(scores)
                print(f"\n{key}\n\n{score_table(scores)}")
    print(
        json.dumps(
            {
                "benchmark": "backbones_on_glue",
                "rows": rows,
                "trivial": trivial,
                "seeds": study.seeds,
                "rates": list(study.rates),
            }
        )
    )


if __name__ == "__main__":
    main()
