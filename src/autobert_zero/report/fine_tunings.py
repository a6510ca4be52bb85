"""Reads the fine-tunings of a model, for its report."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autobert_zero.errors import UserError
from autobert_zero.run_folder import FINETUNING, read_record
from autobert_zero.run_folder.digests import model_digest
from autobert_zero.run_folder.names import SCORE


@dataclass(frozen=True)
class FineTuning:
    """A row of the table of fine-tunings.

    Attributes:
        task: Name of the task.
        split: A split with labels.
        scores: Means and standard deviations of its metrics, in words.
        seeds: Number of seeds.
        folder: Folder of the fine-tuning.
    """

    task: str
    split: str
    scores: str
    seeds: int
    folder: str


def fine_tunings(folder: Path) -> list[FineTuning]:
    """Fine-tunings of the model in a folder, from the folders next to it and one level below those."""
    around = folder.resolve().parent
    paths = sorted([*around.glob(f"*/{FINETUNING.marker}"), *around.glob(f"*/*/{FINETUNING.marker}")])
    model = model_digest(folder) if paths else None
    return [row for path in paths for row in _fine_tuning_rows(path.parent, model, around)]


def _fine_tuning_rows(folder: Path, model: str | None, around: Path) -> list[FineTuning]:
    """The rows of a fine-tuning; none if it is of another model, unfinished, or of an older version."""
    try:
        record = read_record(folder)
        started_from = record.inputs.get("model") if record else None
        if started_from is None or started_from.identity != model:
            return []
        return list(_scores(folder, str(folder.relative_to(around))))
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _scores(folder: Path, name: str) -> Iterator[FineTuning]:
    score = json.loads((folder / SCORE).read_text(encoding="utf-8"))
    for splits, spread in ((score["mean"], score["spread"]), (score["test"], score["test_spread"])):
        for split, metrics in splits.items():
            words = ", ".join(
                f"{metric} {100 * value:.1f}"
                + (f" ± {100 * spread[split][metric]:.1f}" if score["seeds"] > 1 else "")
                for metric, value in metrics.items()
            )
            yield FineTuning(score["task"], split, words, score["seeds"], name)
