"""`autobert-zero predict` of a token classifier: words, tags and entities, in texts of any length."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import trained


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.tagger(tmp_path_factory.mktemp("model") / "m")


def predicted(*arguments: object) -> list[dict[str, Any]]:
    done = tiny.command("predict", *arguments)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def entities(record: dict[str, Any]) -> list[tuple[str, str]]:
    """The entities; each stands in the text where it says."""
    for each in record["entities"]:
        assert record["text"][each["start"] : each["end"]] == each["text"]
    return [(each["type"], each["text"]) for each in record["entities"]]


def test_words_tags_and_entities(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Anna  lives in (Paris).\n\nParis lives, it was Anna Anna\nlives\n")
    first, empty, second, third = predicted("--model", model, tmp_path / "a.txt")
    assert first["words"] == ["Anna", "lives", "in", "(", "Paris", ")", "."]
    assert first["tags"] == ["B-PER", "B-LOC", "O", "O", "B-LOC", "O", "O"]  # the model says I-LOC
    assert entities(first) == [("PER", "Anna"), ("LOC", "lives"), ("LOC", "Paris")]
    assert empty == {"text": "", "words": [], "tags": [], "entities": []}
    assert entities(second) == [("LOC", "Paris lives"), ("PER", "Anna"), ("PER", "Anna")]
    assert entities(third) == [("LOC", "lives")]


def test_lists_of_words_are_taken_as_they_are(model: Path, tmp_path: Path) -> None:
    words = ["Anna", "Paris.", "in", "U.S."]
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "x", "tokens": words}) + "\n")
    (record,) = predicted("--model", model, tmp_path / "a.jsonl")
    assert (record["words"], record["tags"][0]) == (words, "B-PER")
    assert record["text"] == "Anna Paris. in U.S."
    assert entities(record)[0] == ("PER", "Anna")


def test_long_texts_are_tagged_to_their_end(model: Path, tmp_path: Path) -> None:
    """A sequence has 16 tokens here."""
    (tmp_path / "a.txt").write_text("good film Anna . " * 30 + "\n" + "Paris\n")
    long, short = predicted("--model", model, tmp_path / "a.txt")
    assert long["tags"] == ["O", "O", "B-PER", "O"] * 30
    assert len(long["entities"]) == 30
    assert short["tags"] == ["B-LOC"]


def test_tags_that_mark_no_entities(tmp_path: Path) -> None:
    model = trained.tagger(tmp_path / "m", {"Anna": "NOUN", "lives": "VERB", ".": "O"}, "X")
    (tmp_path / "a.txt").write_text("Anna lives.\n")
    (record,) = predicted("--model", model, tmp_path / "a.txt")
    assert (record["tags"], record["entities"]) == (["NOUN", "VERB", "O"], [])


@pytest.mark.parametrize(("end", "single"), ["ES", "LU"])
def test_entities_of_other_schemes(tmp_path: Path, end: str, single: str) -> None:
    tags = {"Anna": "B-PER", "lives": f"{end}-PER", "Paris": f"{single}-LOC"}
    model = trained.tagger(tmp_path / "m", tags)
    (tmp_path / "a.txt").write_text("the Anna lives in Paris Paris\n")
    (record,) = predicted("--model", model, tmp_path / "a.txt")
    assert record["tags"] == ["O", "B-PER", f"{end}-PER", "O", f"{single}-LOC", f"{single}-LOC"]
    assert entities(record) == [("PER", "Anna lives"), ("LOC", "Paris"), ("LOC", "Paris")]


def test_tables(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,sentence\n1,Anna was in Paris.\n")
    done = tiny.command("predict", "--model", model, "--format", "csv", tmp_path / "a.csv")
    (row,) = csv.DictReader(io.StringIO(done.out))
    assert row == {
        "words": "Anna was in Paris .",
        "tags": "B-PER O O B-LOC O",
        "entities": "PER: Anna|LOC: Paris",
    }


def test_words_with_spaces_stay_apart_in_tables(model: Path, tmp_path: Path) -> None:
    words = ["Anna", "New York", "Paris"]
    (tmp_path / "a.jsonl").write_text(json.dumps({"tokens": words}))
    done = tiny.command("predict", "--model", model, "--format", "csv", tmp_path / "a.jsonl")
    (row,) = csv.DictReader(io.StringIO(done.out))
    assert json.loads(row["words"]) == words
    assert row["tags"] == "B-PER O B-LOC"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's U.S. law, e.g. in N.Y.", ["It's", "U.S.", "law", ",", "e.g.", "in", "N.Y."]),
        ("@anna #nlp 3.5% (re-do)!", ["@anna", "#nlp", "3.5", "%", "(", "re-do", ")", "!"]),
        ("\u00e9t\u00e9 \u2026", ["\u00e9t\u00e9", "\u2026"]),
        ("un cafe\u0301, the\u0301.", ["un", "cafe\u0301", ",", "the\u0301", "."]),
        (
            "\u0928\u092e\u0938\u094d\u0924\u0947 \u0915\u0940\u0964",
            ["\u0928\u092e\u0938\u094d\u0924\u0947", "\u0915\u0940", "\u0964"],
        ),
        ("\u0e17\u0e35\u0e48 \u2764\ufe0f!", ["\u0e17\u0e35\u0e48", "\u2764\ufe0f", "!"]),
        ("\u0301a", ["\u0301", "a"]),
        ("don't e-mail U.S.A, 3.5", ["don't", "e-mail", "U.S.A", ",", "3.5"]),
        ("我在北京。他在上海", list("我在北京。他在上海")),
        ("東京（日本）です、2024年", [*"東京（日本）です、", "2024", "年"]),
        ("安娜·Anna的iPhone，コーヒー", [*"安娜·", "Anna", "的", "iPhone", *"，コーヒー"]),
        (
            "Anna—Paris、Rome・１．５（ＡＢ）",
            ["Anna", "—", "Paris", "、", "Rome", "・", "１．５", "（", "ＡＢ", "）"],
        ),
        ("ที่นี่๒๕๖๗ ကို", ["ที่", "นี่", "๒๕๖๗", "ကို"]),
        ("葛\U000e0100城 안녕하세요!", ["葛\U000e0100", "城", "안녕하세요", "!"]),
    ],
)
def test_how_text_is_split(text: str, words: list[str]) -> None:
    from autobert_zero.predict.tagging import split_words

    assert [word for word, _ in split_words(text)] == words
    assert [text[start : start + len(word)] for word, start in split_words(text)] == words
