"""The kinds of run, and the names of the files in their folders."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunKind:
    """A kind of run.

    Attributes:
        name: Name in messages.
        marker: The file that makes a folder a run of this kind; written last of those that a start writes.
    """

    name: str
    marker: str


SEARCH = RunKind("search", "config.yaml")
PRETRAINING = RunKind("pre-training", "pretrain.yaml")
FINETUNING = RunKind("fine-tuning", "finetune.json")
RUN_KINDS = (SEARCH, PRETRAINING, FINETUNING)

# Of every kind.
RECORD = "run.json"
LOCK = ".lock"

# Of searches and pre-trainings.
TOKENIZER = "tokenizer.json"
SUMMARY = "summary.json"
TENSORBOARD = "tensorboard"

# Of searches.
SEED_BACKBONES = "seed_backbones.json"
LATENCIES = "latencies.json"
TIMES = "times.json"
WIDTHS = "widths.json"
"""The widths of feed-forward blocks that a search from a model tried before it began."""
STUDY_FILE = "study.db"
BANK = "bank"
LEADERBOARD = "leaderboard.csv"
FINALS = "final"
SPEEDS = "speeds.json"
STUDENTS = "students"
"""Trainings of a search from a model, but for the winner's, which is in `FINALS`."""
WEIGHTS = "model.safetensors"
BEST = "best"
"""Without its suffix: the backbone is written as text, `best.txt`, and as `best.json`."""
SUMMARY_TABLE = "summary.md"
DIAGNOSIS = "diagnosis.json"
DIAGNOSED = "diagnosis"
ARTIFACTS = "artifacts"

# Of pre-trainings.
CHECKPOINTS = "checkpoints"
METRICS_LOG = "metrics.jsonl"

# Of fine-tunings.
TRIVIAL = "trivial.json"
TRAININGS = "runs"
SCORE = "score.json"
SCORE_TABLE = "table.md"

# Of pre-trainings and fine-tunings.
DIVERGED = "diverged"

# Of every folder with a model.
MINIMAL_PAIRS = "minimal_pairs.json"
"""The results beside a model or a run, where reports and model cards look for them."""
MODEL_CARD = "README.md"

ONLY_OF_RUNS = {LOCK, RECORD, SEED_BACKBONES}
"""Files that a start writes and a user does not."""

STARTED = ONLY_OF_RUNS | {kind.marker for kind in RUN_KINDS} | {TOKENIZER, LATENCIES, WIDTHS, TRIVIAL}
"""Files that a start writes before anything is trained."""


def snapshots_of(bank: Path) -> list[Path]:
    """The snapshots of shared weights in the `BANK` of a search, oldest first."""
    return sorted(bank.glob("*.safetensors"))


def kind_of(folder: Path) -> RunKind | None:
    """The kind of run in a folder; None where there is none."""
    return next((kind for kind in RUN_KINDS if (folder / kind.marker).is_file()), None)
