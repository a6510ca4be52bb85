"""Spans of a text as answers: the target of training, and the best one by a model's scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

_BEST = 20
"""Number of best starts and ends of a window that are combined."""

_LONGEST = 30
"""Maximum tokens of an answer."""


@dataclass(frozen=True)
class AnswerSpan:
    """A part of a text as the answer.

    Attributes:
        score: Sum of its two logits.
        begin: Index of its first character.
        end: Index after its last character.
        probability: Probability of its start times that of its end, by softmax over the window's text and the
            token for no answer.
        no_answer: Probability of no answer in this window, likewise.
    """

    score: float
    begin: int
    end: int
    probability: float
    no_answer: float


@dataclass(frozen=True)
class TextWindow:
    """A part of a text that fits a model.

    Attributes:
        owner: Index of the question.
        offsets: Start and end of each token, in characters.
        inside: Whether each token belongs to the text.
        no_answer: Index of the token for no answer.
    """

    owner: int
    offsets: Sequence[tuple[int, int]]
    inside: Sequence[bool]
    no_answer: int


def target_tokens(window: TextWindow, answers: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """First and last token of the first answer; the token for no answer if the window does not contain it."""
    if not answers:
        return window.no_answer, window.no_answer
    offsets, inside = window.offsets, window.inside
    text, begin = answers[0]
    end = begin + len(text)
    holds = [n for n, (a, b) in enumerate(offsets) if inside[n] and b > begin and a < end]
    places = [n for n, within in enumerate(inside) if within]
    if not holds or offsets[places[0]][0] > begin or offsets[places[-1]][1] < end:
        return window.no_answer, window.no_answer
    return holds[0], holds[-1]


def best_span(window: TextWindow, start: Any, end: Any) -> AnswerSpan | None:
    """The best span of a window; None if the window has no text."""
    tokens = _best_tokens(window, start, end)
    if tokens is None:
        return None
    score, first, last = tokens
    kept = [place for place, inside in enumerate(window.inside) if inside or place == window.no_answer]
    begins, ends = softmax(start[kept]), softmax(end[kept])
    probability = begins[kept.index(first)] * ends[kept.index(last)]
    no_answer = kept.index(window.no_answer)
    return AnswerSpan(
        score,
        window.offsets[first][0],
        window.offsets[last][1],
        float(probability),
        float(begins[no_answer] * ends[no_answer]),
    )


def _best_tokens(window: TextWindow, start: Any, end: Any) -> tuple[float, int, int] | None:
    """The score, first and last token of the best span of a window; None if it has no text."""
    places = np.flatnonzero(window.inside)
    begins = places[np.argsort(-start[places], kind="stable")[:_BEST]]
    ends = places[np.argsort(-end[places], kind="stable")[:_BEST]]
    pairs = [
        (float(start[a] + end[b]), int(a), int(b)) for a in begins for b in ends if 0 <= b - a < _LONGEST
    ]
    if not pairs and len(places):
        place = int(places[np.argmax(start[places] + end[places])])
        return float(start[place] + end[place]), place, place
    return max(pairs, default=None)
