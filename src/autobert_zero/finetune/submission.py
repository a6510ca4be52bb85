"""Test predictions in the format that the GLUE server takes."""

from collections.abc import Sequence
from pathlib import Path

from autobert_zero.finetune.tasks import Task

_NAMED = {"mnli", "qnli", "rte"}  # the server wants names of classes for these, numbers for the others


def write_submission(folder: Path, task: Task, split: str, predictions: Sequence[float]) -> Path:
    """Writes `index` and `prediction` columns, tab-separated.

    Args:
        folder: Where to.
        task: Names the file, where the server has a name for it.
        split: Which test split.
        predictions: Class numbers or values, in the order of the split.

    Returns:
        The file.
    """
    index = task.test.index(split)
    name = task.submission[index] if task.submission else f"{task.name}-{split}.tsv"
    path = folder / name
    lines = ["index\tprediction"]
    for number, value in enumerate(predictions):
        if task.regression:
            low, high = (0.0, 5.0) if task.name == "stsb" else (float("-inf"), float("inf"))
            text = f"{min(max(value, low), high):.3f}"
        else:
            named = task.name in _NAMED or not task.submission
            text = task.labels[int(value)] if named else str(int(value))
        lines.append(f"{number}\t{text}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
