"""Sentences as words with tags and their places in the data."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence that is split into words.

    Attributes:
        words: Words, at least one, none empty.
        tags: One tag per word; None without tags, as in a blind test set.
        source: Its file or example, for messages.
        lines: Line of each word in the file; empty for data that are not read line by line.
    """

    words: Sequence[str]
    tags: Sequence[str] | None
    source: str
    lines: Sequence[int] = ()

    def place(self, word: int) -> str:
        """The place of a word, counted from 0, for messages."""
        return f"{self.source}, {f'line {self.lines[word]}' if self.lines else f'word {word + 1}'}"
