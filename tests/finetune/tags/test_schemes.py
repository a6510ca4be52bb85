"""Schemes of tags: recognised, checked, and converted to IOB2 by hand and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from autobert_zero.errors import UserError
from autobert_zero.finetune.tags.schemes import Scheme, begin_with_b, convert, convert_predicted, recognise
from autobert_zero.finetune.tags.sentences import TaggedSentence


def sentence(tags: str) -> TaggedSentence:
    """A sentence of a file that begins at line 10."""
    each = tags.split()
    return TaggedSentence(["w"] * len(each), each, "train.conll", range(10, 10 + len(each)))


@pytest.mark.parametrize(
    ("scheme", "tags", "iob2"),
    [
        ("iob1", "O I-A I-A O", "O B-A I-A O"),
        # Two entities of one type, one after the other.
        ("iob1", "I-A I-A B-A I-A", "B-A I-A B-A I-A"),
        ("iob1", "I-A I-B I-B O I-B", "B-A B-B I-B O B-B"),
        ("iob1", "I-A B-A B-A", "B-A B-A B-A"),
        ("iob1", "O O", "O O"),
        ("iob2", "B-A I-A B-A I-A B-B O", "B-A I-A B-A I-A B-B O"),
        ("bioes", "S-A B-A I-A E-A O S-B", "B-A B-A I-A I-A O B-B"),
        ("bioes", "B-A E-A B-B E-B", "B-A I-A B-B I-B"),
        ("bioes", "U-A B-A I-A L-A O", "B-A B-A I-A I-A O"),
        ("plain", "NN I-A -LRB- O", "NN I-A -LRB- O"),
        ("iob2", "B-creative-work I-creative-work", "B-creative-work I-creative-work"),
    ],
)
def test_conversion_by_hand(scheme: Scheme, tags: str, iob2: str) -> None:
    assert list(convert(sentence(tags), scheme) or ()) == iob2.split()


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O B-A I-A O"], "iob2"),
        (["O I-A I-A O"], "iob1"),
        (["I-A B-A O", "O I-B"], "iob1"),
        (["B-A B-A"], "iob2"),
        (["B-A O", "I-B"], "iob2"),  # refused by `convert`
        (["O", "S-A O"], "bioes"),
        (["B-A E-A"], "bioes"),
        (["B-A L-A O U-B"], "bioes"),
        (["NN VBD -LRB- PRP$"], "plain"),
        (["NOUN X O"], "plain"),
        (["O O"], "plain"),
        (["X-A O B-A"], "iob2"),
        (["B- O"], "iob2"),
    ],
)
def test_recognition(tags: list[str], scheme: str) -> None:
    assert recognise([sentence(each) for each in tags]) == scheme


@pytest.mark.parametrize(
    ("scheme", "tags", "message"),
    [
        (
            "iob2",
            "O X-PER",
            "train.conll, line 11: the tag 'X-PER' is none of IOB2, which has O, B-TYPE, I-TYPE",
        ),
        ("iob2", "B-", "line 10: the tag 'B-' is none"),
        ("iob1", "I", "line 10: the tag 'I' is none"),
        ("iob2", "PER", "line 10: the tag 'PER' is none"),
        ("iob2", "b-PER", "line 10: the tag 'b-PER' is none"),
        ("iob2", "S-PER", "line 10: the tag 'S-PER' is none"),
        ("iob2", "BI-PER", "line 10: the tag 'BI-PER' is none"),
        ("iob2", "B-A O I-A", "line 12: I-A without B-A before it.*`scheme: iob1`"),
        ("iob2", "B-A I-B", "line 11: I-B without B-B before it"),
        ("bioes", "O I-A", "line 11: I-A continues an entity, but none is open"),
        ("bioes", "E-A", "line 10: E-A continues an entity"),
        ("bioes", "B-A O", "line 10: B-A leaves its entity without an end"),
        ("bioes", "B-A I-A", "line 11: I-A leaves its entity without an end"),
        ("bioes", "B-A E-B", "line 10: B-A leaves its entity without an end"),
        ("bioes", "Q-A", "none of BIOES, which has O, B-TYPE, I-TYPE, E-TYPE, S-TYPE"),
    ],
)
def test_tags_outside_of_the_scheme(scheme: Scheme, tags: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        convert(sentence(tags), scheme)
    assert "\n" not in str(caught.value)


def test_a_word_is_named_where_there_are_no_lines() -> None:
    with pytest.raises(UserError, match="data:train, example 3, word 2: the tag 'X'"):
        convert(TaggedSentence(["a", "b"], ["O", "X"], "data:train, example 3"), "iob2")


entities = st.lists(st.tuples(st.sampled_from(["", "A", "B"]), st.integers(1, 3)), min_size=1, max_size=8)
"""Types and numbers of words; no type: words outside."""


def spelled(spans: list[tuple[str, int]], scheme: Scheme) -> list[str]:
    """The tags of entities, written from the definition of the scheme."""
    tags: list[str] = []
    before = ""
    for kind, words in spans:
        for word in range(words if kind else 1):
            first, last = word == 0, word == words - 1
            if not kind:
                prefix = "O"
            elif scheme == "bioes":
                prefix = {(True, True): "S", (True, False): "B", (False, False): "I", (False, True): "E"}[
                    first, last
                ]
            elif scheme == "iob1":
                prefix = "B" if first and before == kind else "I"
            else:
                prefix = "B" if first else "I"
            tags.append(f"{prefix}-{kind}" if kind else "O")
        before = kind
    return tags


@given(entities, st.sampled_from(["iob1", "iob2", "bioes"]))
def test_every_scheme_has_the_entities_of_iob2(spans: list[tuple[str, int]], scheme: Scheme) -> None:
    tags = spelled(spans, scheme)
    converted = list(convert(sentence(" ".join(tags)), scheme) or ())
    assert converted == spelled(spans, "iob2")
    assert get_entities(converted) == get_entities(tags)


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=1, max_size=12))
def test_predictions_keep_the_entities_that_conlleval_counts(tags: list[str]) -> None:
    repaired = begin_with_b(tags)
    assert get_entities(repaired) == get_entities(tags)
    assert begin_with_b(repaired) == repaired
    assert convert(sentence(" ".join(repaired)), "iob2") == repaired


@given(
    st.lists(
        st.sampled_from(["O", *(f"{p}-{kind}" for p in "BIES" for kind in "AB")]), min_size=1, max_size=12
    )
)
def test_predictions_of_every_scheme_keep_the_entities_that_conlleval_counts(tags: list[str]) -> None:
    converted = convert_predicted(tags)
    assert get_entities(converted) == get_entities(tags)
    assert convert(sentence(" ".join(converted)), "iob2") == converted
    bilou = [tag.replace("E-", "L-").replace("S-", "U-") for tag in tags]
    assert convert_predicted(bilou) == converted


def test_predicted_tags_that_mark_nothing_are_outside() -> None:
    assert convert_predicted(["NOUN", "I-A", "X-A", "B", "E-A"]) == ["O", "B-A", "O", "O", "B-A"]
