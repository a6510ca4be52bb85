"""The two versions of SQuAD, and what a question is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Question:
    """A question on a text.

    Attributes:
        key: Id of the question.
        question: The question.
        context: The text.
        answers: Accepted answers, each with the index of its first character; empty if there is no answer.
    """

    key: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Squad:
    """A version of SQuAD.

    Attributes:
        name: Name of the task.
        hub: Dataset on the Hub.
        files: Official file names by split.
        unanswerable: Whether some questions have no answer.
    """

    name: str
    hub: str
    files: Mapping[str, str]
    unanswerable: bool

    def folder(self, data: Path) -> Path:
        """The folder of its files in a folder of tasks."""
        return data / self.name


SQUADS = {
    task.name: task
    for task in (
        Squad("squad", "rajpurkar/squad", {"train": "train-v1.1.json", "validation": "dev-v1.1.json"}, False),
        Squad(
            "squad_v2",
            "rajpurkar/squad_v2",
            {"train": "train-v2.0.json", "validation": "dev-v2.0.json"},
            True,
        ),
    )
}
