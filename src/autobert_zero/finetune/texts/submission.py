"""Test predictions in the format of the GLUE server."""

from collections.abc import Sequence
from pathlib import Path

from autobert_zero.files import write_text
from autobert_zero.finetune.texts.task import Task

_NUMBERED = {"cola", "sst2", "mrpc", "qqp", "wnli"}  # the server wants numbers of classes for these


def write_submission(folder: Path, task: Task, split: str, predictions: Sequence[float]) -> Path:
    """Writes `index` and `prediction` columns, tab-separated.

    Args:
        folder: Folder to write to.
        task: The task, which names the file if the server has a name for it.
        split: The test split.
        predictions: Class numbers or values, in the order of the split.

    Returns:
        The path of the file.
    """
    index = task.test.index(split)
    name = task.submission[index] if task.submission else f"{task.name}-{split}.tsv"
    path = folder / name
    glue = task.name if task.submission else None
    lines = ["index\tprediction"]
    for number, value in enumerate(predictions):
        if task.regression:
            low, high = (0.0, 5.0) if glue == "stsb" else (float("-inf"), float("inf"))
            text = f"{min(max(value, low), high):.3f}"
        else:
            text = str(int(value)) if glue in _NUMBERED else task.labels[int(value)]
        lines.append(f"{number}\t{text}")
    write_text(path, "\n".join(lines) + "\n")
    return path
