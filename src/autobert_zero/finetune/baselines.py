"""Trivial predictors that ignore words or word order, as a comparison for fine-tuned models."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from datasets import Dataset
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from autobert_zero.data.scripts import MARKS, SPACED, UNSPACED

_TOKEN = Split(Regex(rf"{UNSPACED}[{MARKS}]*|{SPACED}[{SPACED}{MARKS}]*|\S"), "removed", invert=True)
"""Finds words, also of one character, characters of scripts without spaces, and punctuation marks."""

_LEARNED_FROM = 50_000
"""Maximum training examples of a bag of words, spread over all, so that it takes seconds."""

_FEATURES = 50_000
"""Maximum number of words and pairs of words."""

_STRENGTH = 3.0
"""Inverse regularisation of the logistic regression, and regularisation of the ridge regression."""

T = TypeVar("T", bound=Hashable)

Predictions = Mapping[str, Mapping[str, Any]]
"""Predictions by baseline, then by split."""


def text_baselines(data: Mapping[str, Dataset], splits: Sequence[str], regression: bool) -> Predictions:
    """Predicts splits of sentences or pairs by the majority class or the mean value, and by a bag of words.

    Args:
        data: Result of `load_splits`.
        splits: Splits to predict.
        regression: Whether labels are values.
    """
    labels = data["train"]["label"]
    value = float(np.mean(labels)) if regression else most_frequent(labels)
    return {
        "mean value" if regression else "majority class": {s: [value] * len(data[s]) for s in splits},
        "bag of words": bag_of_words(data["train"], {split: data[split] for split in splits}, regression),
    }


def bag_of_words(train: Dataset, others: Mapping[str, Dataset], regression: bool) -> dict[str, list[Any]]:
    """Predicts by a linear model of TF-IDF weights of words and pairs of words.

    For pairs of sentences, the features are the words of both and their overlap. Classes are predicted by a
    logistic regression, values by a ridge regression.

    Args:
        train: Training examples with `text`, `label`, and `pair` for pairs.
        others: Examples to predict, by name.
        regression: Whether labels are values.
    """
    indices = np.linspace(0, len(train) - 1, min(len(train), _LEARNED_FROM)).astype(int)
    train = train.select(indices)
    labels = np.asarray(train["label"])
    words = _Words(train)
    if words.empty or len(set(labels.tolist())) == 1:  # nothing distinguishes the examples
        value = float(labels.mean()) if regression else most_frequent(labels.tolist())
        return {name: [value] * len(examples) for name, examples in others.items()}
    model = Ridge(alpha=_STRENGTH) if regression else LogisticRegression(C=_STRENGTH, max_iter=1000)
    model.fit(words.features(train), labels)
    return {name: list(model.predict(words.features(examples)).tolist()) for name, examples in others.items()}


class _Words:
    """Features of texts, or of pairs, as TF-IDF weights learned from training texts.

    Args:
        train: The training examples.

    Attributes:
        empty: Whether the texts have no words.
    """

    def __init__(self, train: Dataset) -> None:
        self._pairs = "pair" in train.column_names
        texts = [*train["text"], *(train["pair"] if self._pairs else ())]
        self.empty = not any(map(_tokens, texts))
        self._weights = TfidfVectorizer(
            tokenizer=_tokens,
            token_pattern=None,
            ngram_range=(1, 2),
            sublinear_tf=True,
            max_features=_FEATURES,
        )
        if not self.empty:
            self._weights.fit(texts)

    def features(self, examples: Dataset) -> Any:
        """A sparse matrix with one row per example."""
        first = self._weights.transform(examples["text"])  # (N, w)
        if not self._pairs:
            return first
        second = self._weights.transform(examples["pair"])  # (N, w)
        cosine = first.multiply(second).sum(1)  # (N, 1)
        shares = [overlap(*pair) for pair in zip(examples["text"], examples["pair"], strict=True)]
        return sparse.csr_matrix(sparse.hstack([first, second, cosine, np.asarray(shares)]))


def _tokens(text: str) -> list[str]:
    return [token for token, _ in _TOKEN.pre_tokenize_str(text)]


def overlap(first: str, second: str) -> tuple[float, float, float, float]:
    """The overlap of two texts.

    Returns:
        The share of the common words among all words, among those of the first text, and among those of the
        second; and the ratio of the shorter to the longer number of words. 0 if a text is empty.
    """
    one, two = (_tokens(text.lower()) for text in (first, second))
    both = len(set(one) & set(two))
    return (
        both / max(len(set(one) | set(two)), 1),
        both / max(len(set(one)), 1),
        both / max(len(set(two)), 1),
        min(len(one), len(two)) / max(len(one), len(two), 1),
    )


def most_frequent(values: Iterable[T]) -> T:
    """The most frequent value; the first one if several are tied."""
    return Counter(values).most_common(1)[0][0]


def tag_baselines(
    words: Sequence[Sequence[str]],
    tags: Sequence[Sequence[T]],
    sentences: Mapping[str, Sequence[Sequence[str]]],
) -> Predictions:
    """Predicts tags by the most frequent tag of all, and by the most frequent tag of each word.

    Args:
        words: Words of the training sentences.
        tags: Tags of the training sentences, one per word.
        sentences: Words of the sentences to tag, by split. A word without training examples gets the most
            frequent tag of all.
    """
    by_word: dict[str, list[T]] = {}
    for sentence, its_tags in zip(words, tags, strict=True):
        for word, tag in zip(sentence, its_tags, strict=True):
            by_word.setdefault(word, []).append(tag)
    majority = most_frequent(tag for sentence in tags for tag in sentence)
    usual = {word: most_frequent(its_tags) for word, its_tags in by_word.items()}
    return {
        "majority tag": {
            split: [[majority] * len(sentence) for sentence in rows] for split, rows in sentences.items()
        },
        "tag per word": {
            split: [[usual.get(word, majority) for word in sentence] for sentence in rows]
            for split, rows in sentences.items()
        },
    }
