"""CoNLL's column formats: columns, separators, borders of sentences, and what is wrong with a line."""

from pathlib import Path

import pytest

from autobert_zero.errors import UserError
from autobert_zero.finetune.tags.conll import Column, format_conll, read_conll

UNIVERSAL = """\
# newdoc
# text = Don't go
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
2.1\tgone\tgo\tVERB\t_\t_\t_\t_\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_

# text = #
1\t#\t#\tSYM\tNFP\t_\t0\troot\t_\t_
"""

NEWS = """\
-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O

-DOCSTART- -X- O O
Peter NNP I-NP I-PER
"""


def read(
    tmp_path: Path,
    text: str,
    name: str = "train.conll",
    token: Column | None = None,
    tag: Column | None = None,
    tagged: bool = True,
) -> list[tuple[list[str], list[str] | None]]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    sentences = read_conll(path, token, tag, tagged)
    return [(list(each.words), None if each.tags is None else list(each.tags)) for each in sentences]


def test_tabs_or_spaces_and_blank_lines(tmp_path: Path) -> None:
    expected = [(["New", "York"], ["B-A", "I-A"]), (["a"], ["O"])]
    assert read(tmp_path, "New\tB-A\nYork\tI-A\n\na\tO\n") == expected
    assert read(tmp_path, "\n\nNew B-A\nYork  I-A \n \n\n\na O\n\n") == expected
    # WNUT-17's files have a tab in the lines between sentences.
    assert read(tmp_path, "New\tB-A\r\nYork\tI-A\r\n\t\r\na\tO\r\n\t\r\n") == expected
    assert read(tmp_path, "\ufeffNew\tB-A\nYork\tI-A\n\na\tO") == expected


def test_words_are_kept_as_they_are(tmp_path: Path) -> None:
    text = "#\tO\n# b\tO\n10 000\tO\n\u00a0\tO\n\u2028\tO\n-DOCSTART\tO\n"
    assert read(tmp_path, text) == [(["#", "# b", "10 000", "\u00a0", "\u2028", "-DOCSTART"], ["O"] * 6)]
    assert read(tmp_path, "a\u00a0b O\n# O\n") == [(["a\u00a0b", "#"], ["O", "O"])]


def test_documents_end_sentences(tmp_path: Path) -> None:
    assert read(tmp_path, NEWS) == [(["EU", "rejects"], ["I-ORG", "O"]), (["Peter"], ["I-PER"])]
    assert read(tmp_path, NEWS, tag=2)[1] == (["Peter"], ["NNP"])
    assert read(tmp_path, NEWS, tag=-2)[0] == (["EU", "rejects"], ["I-NP", "I-VP"])


def test_conll_u(tmp_path: Path) -> None:
    assert read(tmp_path, UNIVERSAL, "train.conllu") == [
        (["Do", "n't", "go"], ["AUX", "PART", "VERB"]),
        (["#"], ["SYM"]),
    ]
    assert read(tmp_path, UNIVERSAL, "t.conllu", "LEMMA", "XPOS")[0] == (
        ["do", "not", "go"],
        ["VB", "RB", "VB"],
    )
    assert read(tmp_path, UNIVERSAL, "t.conllu", 2, 8)[1] == (["#"], ["root"])
    plus = "# global.columns = FORM NER\n# x\na\tB-A\n"
    assert read(tmp_path, plus, "t.conllup", "FORM", "NER") == [(["a"], ["B-A"])]


def test_columns_by_the_names_of_the_first_line(tmp_path: Path) -> None:
    text = "id\ttag\tword\n1\tO\ta\n\n1\tB-A\tb\n"
    assert read(tmp_path, text, token="word", tag="tag") == [(["a"], ["O"]), (["b"], ["B-A"])]


def test_a_test_file_without_tags(tmp_path: Path) -> None:
    assert read(tmp_path, "a\nb\n\nc\n", tagged=False) == [(["a", "b"], None), (["c"], None)]
    assert read(tmp_path, "1 a\n2 b\n", token=2, tag=3, tagged=False) == [(["a", "b"], None)]
    blind = "1\tgo\t_\t_\t_\t_\t_\t_\t_\t_\n"
    assert read(tmp_path, blind, "t.conllu", tagged=False) == [(["go"], None)]
    assert read(tmp_path, "a O\n", tagged=False) == [(["a"], ["O"])]


@pytest.mark.parametrize(
    ("text", "token", "tag", "message"),
    [
        ("a O\nb\n", None, None, r"train\.conll, line 2: 1 column, but the tag is in column 2"),
        ("a\tO\n\n\nb O\n", None, None, "line 4: 1 column, but the tag is in column 2"),
        ("a b O\nc\n", None, 3, "line 2: 1 column, but the tag is in column 3"),
        ("a b O\nc O\n", None, None, "line 2: 2 columns, but the tag is in column 3"),
        ("a O\nb c O\n", None, None, "line 2: 3 columns, but 2 in line 1"),
        ("a O\nb O\n", 3, 2, "line 1: 2 columns, but the word is in column 3"),
        ("a O\n", -3, None, "line 1: 2 columns, but the word is in column -3"),
        ("a\nb\n", None, None, "line 1: 1 column, so there are no tags"),
        ("a O\n", None, 3, "line 1: 2 columns, but the tags are in column 3"),
        ("a O\n", None, 1, "line 1: column 1 cannot hold both the words and the tags"),
        ("a O\n", 2, None, "line 1: column 2 cannot hold both the words and the tags"),
        ("a\tO\nb\t\n", None, None, "line 2: the tag is empty"),
        ("a\tO\n\tO\n", None, None, "line 2: the word is empty"),
        ("", None, None, r"train\.conll has no sentences"),
        ("\n\n-DOCSTART- O\n\n", None, None, "has no sentences"),
        ("word tag\n", "word", "tag", "has no sentences"),
        ("word tag\na O\n", "word", "ner", "has no column 'ner'; there are word, tag"),
        ("word tag\na O\n", "form", 2, "has no column 'form'"),
    ],
)
def test_lines_that_cannot_be(
    tmp_path: Path, text: str, token: Column | None, tag: Column | None, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, text, token=token, tag=tag)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "tagged", "message"),
    [
        ("1\ta\t_\t_\n", True, "line 1: the word has no tag"),
        ("# x\n1\ta\t_\tNOUN\n2\tb\t_\t_\n", False, "line 3: the word has no tag"),
        ("1\ta\n", True, "line 1: 2 columns, but the tags are in column 4"),
        ("# only\n\n", True, "has no sentences"),
    ],
)
def test_conll_u_that_cannot_be(tmp_path: Path, text: str, tagged: bool, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text, "train.conllu", tagged=tagged)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_bytes(b"a O\nb\xff O\n")
    with pytest.raises(UserError, match=r"train\.conll is not UTF-8 text.*line 2"):
        read_conll(path, None, None)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    columns = [[("New York", "O", "B-A"), ("#", "O", "O")], [("b", "B-A", "O")]]
    text = format_conll(columns)
    assert text == "New York\tO\tB-A\n#\tO\tO\n\nb\tB-A\tO\n\n"
    assert read(tmp_path, text) == [(["New York", "#"], ["B-A", "O"]), (["b"], ["O"])]
