"""Sentences as words with tags, each word with its place in the data."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence that is split into words.

    Attributes:
        words: At least one, none empty.
        tags: One per word; None where the data have none, as in a blind test set.
        source: The file or the example that it is from, for messages.
        lines: The line of each word in the file; empty for data that are not read line by line.
    """

    words: Sequence[str]
    tags: Sequence[str] | None
    source: str
    lines: Sequence[int] = ()

    def place(self, word: int) -> str:
        """Where a word is, for messages; words count from 0."""
        return f"{self.source}, {f'line {self.lines[word]}' if self.lines else f'word {word + 1}'}"
