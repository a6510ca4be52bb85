"""Trivial predictors, by hand and by scikit-learn."""

import numpy as np
import pytest
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from autobert_zero.finetune.baselines import (
    bag_of_words,
    most_frequent,
    overlap,
    tag_baselines,
    text_baselines,
)


def test_the_majority_class_and_the_mean_value() -> None:
    texts = ["good", "bad", "good good", "fine"]
    data = {
        "train": Dataset.from_dict({"text": texts, "label": [1, 0, 1, 1]}),
        "validation": Dataset.from_dict({"text": texts[:2], "label": [0, 0]}),
    }
    assert text_baselines(data, ("validation",), False)["majority class"] == {"validation": [1, 1]}
    data["train"] = Dataset.from_dict({"text": texts, "label": [1.0, 0.0, 2.0, 4.0]})
    values = text_baselines(data, ("validation",), True)
    assert values["mean value"] == {"validation": [1.75, 1.75]}
    assert len(values["bag of words"]["validation"]) == 2


def test_of_tied_values_the_first_one_counts() -> None:
    assert most_frequent([2, 1, 1, 2]) == 2


def test_a_bag_of_words_is_the_pipeline_of_scikit_learn() -> None:
    words = ["good", "bad", "dull", "fine", "the", "film", "!"]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 6)) for _ in range(60)]
    labels = [int("good" in text) + int("bad" in text) for text in texts]
    train = Dataset.from_dict({"text": texts, "label": labels})
    new = [" ".join(random.choice(words, 6)) for _ in range(40)]
    got = bag_of_words(train, {"new": Dataset.from_dict({"text": new})}, False)["new"]
    weights = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    model = LogisticRegression(C=3.0, max_iter=1000).fit(weights.fit_transform(texts), labels)
    assert got == model.predict(weights.transform(new)).tolist()


@pytest.mark.parametrize(
    ("filler", "signs"), [("的电影我看过", "好坏"), ("えいがをみたノデ", "良悪"), ("หนงฉกตมาเ", "ดจ")]
)
def test_a_character_tells_in_scripts_without_spaces(filler: str, signs: str) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    texts = []
    for label in labels:
        characters = list(random.choice(list(filler), 9))
        characters.insert(random.integers(9), signs[label])
        texts.append("".join(characters))
    train = Dataset.from_dict({"text": texts[:40], "label": labels[:40]})
    got = bag_of_words(train, {"new": Dataset.from_dict({"text": texts[40:]})}, False)["new"]
    assert np.mean(np.equal(got, labels[40:])) > 0.9


def test_overlap_by_hand() -> None:
    assert overlap("A dog runs .", "a dog") == (0.5, 0.5, 1.0, 0.5)
    assert overlap("", "a") == (0.0, 0.0, 0.0, 0.0)
    assert overlap("हिन्दी नमक", "हिन्दी दिन") == (1 / 3, 0.5, 0.5, 1.0)
    assert overlap("我在北京 ab", "北京ab") == (0.6, 0.6, 1.0, 0.6)
    assert overlap("ที่นี่", "ที่") == (0.5, 0.5, 1.0, 0.5)


def test_pairs_are_told_apart_by_their_overlap() -> None:
    """Every word occurs as often with either value; only what both texts share tells."""
    random = np.random.default_rng(0)
    words = [f"w{number}" for number in range(30)]
    first = [list(random.choice(words, 6, replace=False)) for _ in range(200)]
    kept = random.integers(0, 7, 200)
    second = [[*one[:n], *random.choice(words, 6 - n)] for one, n in zip(first, kept, strict=True)]
    columns = {"text": [" ".join(one) for one in first], "pair": [" ".join(two) for two in second]}
    pairs = Dataset.from_dict({**columns, "label": kept.astype(float)})
    got = bag_of_words(pairs.select(range(150)), {"new": pairs.select(range(150, 200))}, True)["new"]
    assert np.corrcoef(got, kept[150:])[0, 1] > 0.8


@pytest.mark.parametrize("texts", [["", " ", ""], ["\n", "\t", "\u3000"]])
def test_texts_without_words_are_predicted_by_the_majority(texts: list[str]) -> None:
    train = Dataset.from_dict({"text": texts, "label": [0, 1, 1]})
    assert bag_of_words(train, {"new": train}, False) == {"new": [1, 1, 1]}


def test_one_class_leaves_nothing_to_fit() -> None:
    train = Dataset.from_dict({"text": ["a", "b"], "label": [1, 1]})
    assert bag_of_words(train, {"new": train}, False) == {"new": [1, 1]}


def test_tags_by_hand() -> None:
    words = [["Paris", "is", "big"], ["is", "Paris", "Hilton", "here"]]
    tags = [["B-loc", "O", "O"], ["O", "B-per", "I-per", "O"]]
    got = tag_baselines(words, tags, {"test": [["Hilton", "is", "new"], ["Paris"]]})
    assert got["majority tag"] == {"test": [["O", "O", "O"], ["O"]]}
    assert got["tag per word"] == {"test": [["I-per", "O", "O"], ["B-loc"]]}
