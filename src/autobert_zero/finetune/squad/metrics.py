"""The metrics of SQuAD, as its official script computes them."""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from autobert_zero.finetune.squad.task import Question


def squad_metrics(questions: Sequence[Question], predictions: Mapping[str, str]) -> dict[str, float]:
    """SQuAD's F1 and exact match, each a mean over the questions of the best over their answers.

    For a question without an answer both are 1 if nothing was predicted, else 0 (Rajpurkar et al. 2018).
    """
    f1, exact = [], []
    for question in questions:
        predicted = predictions[question.key]
        # An answer of articles and punctuation only is none, as the official script has it.
        accepted = [text for text, _ in question.answers if _normalised(text)] or [""]
        f1.append(max(_overlap(text, predicted) for text in accepted))
        exact.append(max(float(_normalised(text) == _normalised(predicted)) for text in accepted))
    return {"f1": float(np.mean(f1)), "exact_match": float(np.mean(exact))}


def _overlap(truth: str, predicted: str) -> float:
    """F1 of the words in common."""
    true_words, words = _normalised(truth).split(), _normalised(predicted).split()
    if not true_words or not words:
        return float(true_words == words)
    common = sum((Counter(true_words) & Counter(words)).values())
    return 2 * common / (len(true_words) + len(words))


def _normalised(text: str) -> str:
    """Lower case, without punctuation, articles and extra white space."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())
