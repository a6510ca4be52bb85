"""Reading minimal pairs: formats, names that are not given, and what is refused with file and line."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from pairs_samples import write_lines

from autobert_zero.errors import UserError
from autobert_zero.minimal_pairs.data import Pair, read_pairs, subset

BLIMP = {
    "sentence_good": "Who sleeps?",
    "sentence_bad": "Who sleep?",
    "field": "syntax/semantics",
    "linguistics_term": "binding",
    "UID": "principle_A",
    "simple_LM_method": True,
    "pairID": "0",
}


def test_reads_blimps_own_file_with_its_oddities(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "principle_A.jsonl", [BLIMP, {**BLIMP, "field": "syntax_semantics"}])
    first, second = read_pairs([path])
    assert first == Pair(
        "Who sleeps?", "Who sleep?", "principle_A", "binding", "syntax_semantics", f"{path}, line 1"
    )
    assert second.field == first.field


def test_reads_a_folder_and_compressed_files(tmp_path: Path) -> None:
    write_lines(tmp_path / "b.jsonl", [{**BLIMP, "UID": "b"}])
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as stream:
        stream.write(json.dumps({**BLIMP, "UID": "a"}) + "\n")
    (tmp_path / "README.md").write_text("not data")
    assert [pair.paradigm for pair in read_pairs([tmp_path])] == ["a", "b"]
    assert [pair.paradigm for pair in read_pairs([tmp_path / "b.jsonl", tmp_path])] == ["b", "a"]


@pytest.mark.parametrize("separator", [",", "\t"])
def test_reads_two_columns_of_a_table(tmp_path: Path, separator: str) -> None:
    ending = "csv" if separator == "," else "tsv"
    path = tmp_path / f"own.{ending}"
    path.write_text(f"good{separator}bad\nIt runs.{separator}It run.\n")
    assert read_pairs([path]) == [Pair("It runs.", "It run.", "own", place=f"{path}, line 2")]


BROKEN = {
    "no side": ('{"sentence_good": "a"}', "line 1: a pair needs the column 'sentence_bad' or 'bad'"),
    "null": ('{"good": "a", "bad": null}', "line 1: the pair has no sentence in 'bad', but None"),
    "empty": ('{"good": " ", "bad": "b"}', "line 1: the pair has no sentence in 'good'"),
    "number": ('{"good": 3, "bad": "b"}', "line 1: the pair has no sentence in 'good', but 3"),
    "columns": ('{"correct": "a", "wrong": "b"}', "there are correct, wrong"),
    "both names": ('{"good": "a", "bad": "b", "sentence_bad": "c"}', "there are both sentence_bad and bad"),
    "surrogate": ('{"good": "\\ud800", "bad": "b"}', "'good' has half a character"),
    "surrogate name": ('{"good": "a", "bad": "b", "UID": "\\ud800"}', "'UID' has half a character"),
    "name": ('{"good": "a", "bad": "b", "UID": 7}', "'UID' must be a name, not 7"),
    "not JSON": ("good", "line 1: not JSON"),
    "nothing": ("", "has no minimal pairs"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_names_the_place_of_a_mistake(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    path = tmp_path / "own.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"own\.jsonl") as error:
        read_pairs([path])
    assert message in str(error.value)


def test_a_side_missing_further_down_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("sentence_good,sentence_bad\na,b\nc,\n")
    with pytest.raises(UserError, match=r"own\.csv, line 3: the pair has no sentence in 'sentence_bad'"):
        read_pairs([path])


def test_sources_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "pairs.txt").write_text("a\nb\n")
    (tmp_path / "pairs.csv").write_text("good,bad\n")
    for name, message in {
        "missing.jsonl": "do not exist",
        "folder": "has no files of minimal pairs",
        "pairs.txt": "are read from .jsonl, .csv, .tsv",
        "pairs.csv": "has no minimal pairs",
    }.items():
        with pytest.raises(UserError, match=message):
            read_pairs([tmp_path / name])


def test_a_subset_has_all_paradigms_and_is_the_same_each_time() -> None:
    pairs = [Pair("a", "b", f"p{number % 3}", place=str(number)) for number in range(300)]
    chosen = subset(pairs, 30)
    assert chosen == subset(pairs, 30)
    assert len({pair.place for pair in chosen}) == 30
    assert set(Counter(pair.paradigm for pair in chosen).values()) == {10}
    assert len(subset(pairs, 1000)) == 300
