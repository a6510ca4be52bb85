"""The kinds of tasks, the built-in tasks of each, and how a task becomes a problem for a model.

A new kind is one entry here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.finetune.problem import Problem
from autobert_zero.finetune.squad.data import load_questions
from autobert_zero.finetune.squad.question_answering import QuestionAnswering
from autobert_zero.finetune.squad.task import SQUADS, Squad
from autobert_zero.finetune.tags.data import load_tags
from autobert_zero.finetune.tags.tagging import Tagging
from autobert_zero.finetune.tags.task import TAG_TASKS, TagTask, TagTaskFile
from autobert_zero.finetune.task_file import parse_file
from autobert_zero.finetune.texts.classification import Classification
from autobert_zero.finetune.texts.data import load_splits
from autobert_zero.finetune.texts.glue import TASKS, TaskFile
from autobert_zero.finetune.texts.similarity import SimilarityTask, refuse_training
from autobert_zero.finetune.texts.task import Task, TextTaskFile
from autobert_zero.settings import read_yaml

MakeProblem = Callable[[PreTrainedTokenizerBase, int], Problem]
"""Makes the problem of a task with its data, for a tokenizer and a maximum number of tokens."""


AnyTask = Task | TagTask | Squad
"""A task of any kind."""


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    Attributes:
        tasks: The built-in tasks by name.
        load: Reads and checks the data of a task, from a folder or, without one, from the Hub.
        parse: Makes a task from a user's YAML file and its content, whose values are all text; None if the
            kind has built-in tasks only.
    """

    tasks: Mapping[str, Any]
    load: Callable[[Any, Path | None], MakeProblem]
    parse: Callable[[Path, dict[str, Any]], Any] | None = None


KINDS: dict[str, Kind] = {
    "texts": Kind(
        TASKS,
        lambda task, data: partial(Classification, task, load_splits(task, data)),
        partial(parse_file, TaskFile, Task, labels=()),
    ),
    "squad": Kind(SQUADS, lambda task, data: partial(QuestionAnswering, task, load_questions(task, data))),
    "tags": Kind(
        TAG_TASKS,
        lambda task, data: partial(Tagging, task, load_tags(task, data)),
        partial(parse_file, TagTaskFile, TagTask),
    ),
    "similarity": Kind(
        {},
        refuse_training,
        partial(parse_file, TextTaskFile, SimilarityTask, labels=(), metrics=("spearman",)),
    ),
}
"""The kinds by the value of `kind` in a YAML file."""

_USUAL = "texts"
"""The kind of a YAML file without `kind`."""


def find_task(name: str) -> AnyTask:
    """Finds a task by its name, or reads it from a YAML file.

    Args:
        name: Name of the task, or path of the file.

    Raises:
        UserError: There is no such task, or the file does not describe one.
    """
    return _find(name)[1]


def load_problem(name: str, data: Path | None) -> tuple[str, MakeProblem]:
    """Finds a task, and reads and checks its data.

    Args:
        name: Name of the task, or path of a YAML file.
        data: Folder with the task's files; None for the Hub.

    Returns:
        The name of the task, and the function that makes its problem.

    Raises:
        UserError: There is no such task, or its data cannot be used.
    """
    kind, task = _find(name)
    return task.name, kind.load(task, data)


def is_task_file(name: str) -> bool:
    """Whether a name is the path of a user's task file."""
    return name.lower().endswith((".yaml", ".yml"))


def _find(name: str) -> tuple[Kind, AnyTask]:
    if is_task_file(name):
        return _read_task(Path(name))
    for kind in KINDS.values():
        if name in kind.tasks:
            return kind, kind.tasks[name]
    known = {_letters_only(task): task for kind in KINDS.values() for task in kind.tasks}
    close = get_close_matches(_letters_only(name), known, 1)
    hint = f"; did you mean {known[close[0]]}?" if close else ""
    raise UserError(
        f"unknown task {name!r}; there are {', '.join(known.values())}, or a YAML file of your own{hint}"
    )


def _letters_only(name: str) -> str:
    """A name without capitals and punctuation: SST-2 becomes sst2."""
    return re.sub(r"[\W_]", "", name).lower()


def _read_task(path: Path) -> tuple[Kind, AnyTask]:
    """Reads a user's task; every value is text as it is written, such as `no` and `01`."""
    content = read_yaml(path, "task", words=True)
    name = content.pop("kind", _USUAL)
    parsers = {kind_name: kind.parse for kind_name, kind in KINDS.items() if kind.parse is not None}
    if not isinstance(name, str) or name not in parsers:
        raise UserError(f"{path}: kind must be one of {', '.join(parsers)}, not {name}")
    return KINDS[name], parsers[name](path, content)
