"""Records of every format: read, and named where they are damaged."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autobert_zero.data.corpus import CorpusError, open_corpus
from autobert_zero.shared_config import CorpusConfig

FILES = {
    "quoted.csv": 'text,id\n"one, ""two""\nthree",1\nfour,2\n',
    "semicolons.csv": "id;text\n1;one, two\n2;three\n",
    "tabs.tsv": 'id\ttext\n1\t"one\n2\tit\'s "two"\n',
    "list.json": '[{"text": "one"}, {"text": null}, {"text": "two"}]',
    "strings.json": '["one", "two"]',
    "pretty.json": '{\n  "id": 7,\n  "text": "one"\n}\n',
    "lines.json": '{"text": "one"}\n{"text": "two"}\n',
    "lines.ndjson": '{"text": "one"}\n\n{"id": 3, "text": "two"}\n{"id": "x"}\n',
    "half.jsonl": '{"text": "a\\ud83d!"}\n',
    "wide.csv": "text\n" + "x" * 200_000 + "\n",
    "below.csv": "\n\ntext,id\none,1\n",
    "quotes.csv": '"a, b, c";text\n1;one, two\n',
    "unnamed.csv": ",text,,\n0,one,,\n1,two,,,\n",
}
TEXTS = {
    "quoted.csv": ['one, "two"\nthree', "four"],
    "semicolons.csv": ["one, two", "three"],
    "tabs.tsv": ['"one', 'it\'s "two"'],
    "list.json": ["one", "", "two"],
    "strings.json": ["one", "two"],
    "pretty.json": ["one"],
    "lines.json": ["one", "two"],
    "lines.ndjson": ["one", "two", ""],
    "half.jsonl": ["a\ufffd!"],
    "wide.csv": ["x" * 200_000],
    "below.csv": ["one"],
    "quotes.csv": ["one, two"],
    "unnamed.csv": ["one", "two"],
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_formats(tmp_path: Path, name: str, packed: bool, mark: str) -> None:
    path = tmp_path / (name + ".gz" * packed)
    content = (mark + FILES[name]).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    assert list(open_corpus(str(path)).paragraphs) == TEXTS[name]


DAMAGED = {
    "a.jsonl": ('{"text": "a"}\n{"text": "b"\n', "cannot be read as json: line 2: "),
    "b.jsonl": ('{"text": "a"}\n["b"]\n', "cannot be read as json: line 2 is not an object"),
    "c.jsonl": ('{"text": "a"}\n{"text": 5}\n', "record 2: column 'text' holds no text but 5"),
    "d.json": ('[{"text": "a"}, {"text"', "cannot be read as json: line 1: "),
    "e.csv": ('text,id\n"a,1\nb,2\n', "line 2: unexpected end of data; is a quote left open?"),
    "f.csv": ("text,id\na,1\nb,2,3\n", "cannot be read as csv: line 3: 3 fields, not 2"),
    "g.tsv": ("text\tid\nb\n", "cannot be read as csv: line 2: 1 fields, not 2"),
    "h.csv": ("text,id,text\na,1,b\n", "has two columns 'text'"),
    "i.csv": ('"te"xt,id\na,1\n', "line 1: ',' expected after '\"'; is a quote left open?"),
    "j.csv": ('"text\na\n', "line 1: unexpected end of data; is a quote left open?"),
    "k.jsonl": ('{"text": "a"}\n{"text": "a", "text": "b"}\n', "line 2: the key 'text' is given twice"),
    "l.json": ('[{"text": "a", "text": "b"}]', "line 1: the key 'text' is given twice"),
}


@pytest.mark.parametrize(("name", "case"), DAMAGED.items(), ids=DAMAGED)
def test_damaged_records_are_named(tmp_path: Path, name: str, case: tuple[str, str]) -> None:
    path = tmp_path / name
    path.write_text(case[0])
    with pytest.raises(CorpusError) as caught:
        open_corpus(str(path))
    assert str(path) in str(caught.value)
    assert case[1] in str(caught.value)
    assert "\n" not in str(caught.value)


def damage_group(path: Path, texts: list[str]) -> None:
    """A parquet file of row groups of ten, the second of which is overwritten."""
    table = pa.table({"text": texts, "id": list(range(len(texts)))})
    pq.write_table(table, path, row_group_size=10, compression="gzip", use_dictionary=False)
    place = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[place + 30 : place + 60] = bytes(30)
    path.write_bytes(content)


def test_a_damaged_row_group_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    damage_group(path, [f"text {number}" for number in range(40)])
    with pytest.raises(CorpusError, match=r"a\.parquet' cannot be read as parquet: row group 2 of 4"):
        open_corpus(str(path))


def test_two_columns_of_one_name_in_a_parquet_file(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match="has two columns 'text'"):
        open_corpus(str(tmp_path / "a.parquet"))


def test_only_the_column_of_text_is_read(tmp_path: Path) -> None:
    """Whatever the other columns hold, and however they change."""
    rows: list[dict[str, Any]] = [{"id": number, "text": "a"} for number in range(2000)]
    rows += [{"id": "x", "text": "b", "meta": {"a": [1]}}, {"id": [1], "text": "c", "meta": "none"}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(open_corpus(str(path)).paragraphs)[-3:] == ["a", "b", "c"]
    table = pa.table({"text": ["one"], "id": pa.array([{"deep": [1]}])})
    pq.write_table(table, tmp_path / "b.parquet")
    assert list(open_corpus(CorpusConfig(corpus=str(tmp_path), text_column="text")).paragraphs)[-1] == "one"
