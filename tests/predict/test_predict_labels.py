"""`autobert-zero predict`: labels and scores, the same as those of the pipelines of `transformers`."""

import csv
import gzip
import io
import json
from pathlib import Path
from random import Random
from typing import Any

import hf_samples
import pytest
import tiny
import trained
from transformers import BertForSequenceClassification, pipeline

CLASSES = ("bad", "fair", "good")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained.classifier(tmp_path_factory.mktemp("model") / "m", *CLASSES)


def sentences(count: int, longest: int = 12) -> list[str]:
    random = Random(0)
    return [" ".join(random.choices(trained.WORDS, k=random.randint(1, longest))) for _ in range(count)]


def predicted(*arguments: object) -> list[dict[str, Any]]:
    """The records that the command prints."""
    done = tiny.command("predict", *arguments)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def by_pipeline(model: Path, texts: Any, **options: Any) -> list[dict[str, float]]:
    """The probabilities of every class, by the pipeline, one text at a time."""
    classify = pipeline("text-classification", str(model), device="cpu", top_k=None, **options)
    results = [classify(text) for text in texts]
    results = [each[0] if isinstance(each[0], list) else each for each in results]  # texts have a list more
    return [{each["label"]: each["score"] for each in result} for result in results]


def check(records: list[dict[str, Any]], expected: list[dict[str, float]]) -> None:
    assert len(records) == len(expected)
    for record, probabilities in zip(records, expected, strict=True):
        assert record["probabilities"] == pytest.approx(probabilities, abs=1e-6)


def test_probabilities_are_those_of_the_pipeline_in_order(model: Path, tmp_path: Path) -> None:
    texts = sentences(70)
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    done = tiny.command("predict", "--model", model, "--batch-size", 8, tmp_path / "texts.txt")
    records = [json.loads(line) for line in done.out.splitlines()]
    check(records, by_pipeline(model, texts))
    assert [record["text"] for record in records] == texts
    for record in records:
        assert record["probability"] == max(record["probabilities"].values())
        assert record["probabilities"][record["label"]] == record["probability"]
    first, machine, last = done.log.splitlines()
    assert first == (
        f"one label of bad, fair, good for 70 texts of {tmp_path / 'texts.txt'} (column text, at most 16 "
        f"tokens each) with {model} (AutoBertZeroForSequenceClassification), as jsonl to standard output"
    )
    assert machine.startswith("device cpu")
    assert last == "70 texts predicted"


def test_other_columns_are_kept(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,source\n7,good film,web\n8,,mail\n")
    (tmp_path / "b.jsonl").write_text('{"text": "bad play", "id": [1, 2]}\n')
    given = ("--model", model, "--keep-columns")
    records = predicted(*given, "id", tmp_path / "a.csv", tmp_path / "b.jsonl")
    assert [(record["id"], record["text"]) for record in records] == [
        ("7", "good film"),
        ("8", ""),
        ([1, 2], "bad play"),
    ]
    files = (tmp_path / "a.csv", tmp_path / "b.jsonl")
    done = tiny.command("predict", *given, "all", "--format", "csv", *files)
    assert done.code == 0, done.err
    rows = [row[:4] for row in csv.reader(done.out.splitlines())]
    assert rows == [
        ["id", "source", "text", "label"],
        *(["7", "web", "good film", rows[1][3]], ["8", "mail", "", ""]),
        ["[1, 2]", "", "bad play", rows[3][3]],
    ]


@pytest.mark.parametrize("keep", ["label", "all"])
def test_a_kept_column_with_the_name_of_a_prediction_gets_a_suffix(
    model: Path, tmp_path: Path, keep: str
) -> None:
    (tmp_path / "a.csv").write_text("text,label\ngood film,yes\n")
    (record,) = predicted("--model", model, "--keep-columns", keep, tmp_path / "a.csv")
    assert list(record) == ["label_given", "text", "label", "probability", "probabilities"]
    assert record["label_given"] == "yes"
    assert record["label"] in CLASSES


def test_columns_that_come_late_are_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"text": "good film"})] * 200 + [json.dumps({"text": "bad play", "id": 7})]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    for keep in ("id", "all"):
        records = predicted("--model", model, "--keep-columns", keep, tmp_path / "a.jsonl")
        assert [record["id"] for record in records] == [None] * 200 + [7]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    done = tiny.command("predict", "--model", model, "--keep-columns", "id", "-")
    assert (done.code, done.out) == (2, "")
    assert "standard input has no column 'id' to keep in its first 200 records; there are text" in done.err


def test_blocks_are_put_together(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autobert_zero.predict import run

    (tmp_path / "texts.txt").write_text("\n".join(sentences(23)))
    whole = predicted("--model", model, tmp_path / "texts.txt")
    monkeypatch.setattr(run, "_BLOCK", 5)
    assert [each["text"] for each in predicted("--model", model, tmp_path / "texts.txt")] == sentences(23)
    for block, once in zip(predicted("--model", model, tmp_path / "texts.txt"), whole, strict=True):
        assert block["probabilities"] == pytest.approx(once["probabilities"], abs=1e-6)


def test_pairs_by_two_columns(model: Path, tmp_path: Path) -> None:
    pairs = list(zip(sentences(9, 5), reversed(sentences(9, 5)), strict=True))
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "one", "two"), *((n, a, b) for n, (a, b) in enumerate(pairs))])
    records = predicted("--model", model, "--columns", "one, two", tmp_path / "pairs.csv")
    check(records, by_pipeline(model, [{"text": a, "text_pair": b} for a, b in pairs]))
    assert [(record["one"], record["two"]) for record in records] == pairs


@pytest.mark.parametrize(
    ("trained_on", "options", "read"),
    [
        (["title"], (), ["title"]),
        (["title"], ("--columns", "body"), ["body"]),
        (["b", "a"], (), ["b", "a"]),
        (["b", "a"], ("--columns", "a,title"), ["a", "title"]),
        (["summary"], (), ["body"]),  # there is none, so it is guessed
    ],
)
def test_the_columns_of_the_training_are_read(
    tmp_path: Path, trained_on: list[str], options: tuple[str, ...], read: list[str]
) -> None:
    model = trained.classifier(tmp_path / "m", *CLASSES, text_columns=trained_on)
    (tmp_path / "a.csv").write_text("title,body,a,b\ngood,the film was good and the play was bad,it,was\n")
    (record,) = predicted("--model", model, *options, tmp_path / "a.csv")
    assert list(record) == [*read, "label", "probability", "probabilities"]


@pytest.mark.parametrize(
    ("trained_on", "options", "message"),
    [
        (["title"], ("--columns", "a,b", "a.csv"), "--columns: this model takes 1 column of text, not 2"),
        (["a", "b"], ("--columns", "a", "a.csv"), "--columns: this model takes 2 columns of text, not 1"),
        (["a", "c"], ("a.csv",), "a.csv lacks the columns a, c; there are a, b; choose with --columns"),
        (["a", "b"], ("a.txt",), "a.txt has lines of text, not the columns a, b"),
    ],
)
def test_pairs_and_single_texts_are_not_confused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trained_on: list[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = trained.classifier(tmp_path / "m", *CLASSES, text_columns=trained_on)
    Path("a.csv").write_text("a,b\ngood,bad\n")
    Path("a.txt").write_text("good\n")
    done = tiny.command("predict", "--model", model, *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_half_a_pair_is_not_predicted(model: Path, tmp_path: Path) -> None:
    rows = [{"a": "good", "b": "bad"}, {"a": "good", "b": None}, {"a": " ", "b": "bad"}]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = tiny.command("predict", "--model", model, "--columns", "a,b", tmp_path / "pairs.jsonl")
    assert [json.loads(line)["label"] is None for line in done.out.splitlines()] == [False, True, True]
    assert done.log.endswith("3 texts predicted, 2 of them empty, with an empty result\n")


def test_several_labels(tmp_path: Path) -> None:
    model = trained.classifier(tmp_path / "m", *CLASSES, problem_type="multi_label_classification")
    (tmp_path / "texts.txt").write_text("\n".join(sentences(9)))
    records = predicted("--model", model, tmp_path / "texts.txt")
    check(records, by_pipeline(model, sentences(9)))
    for record in records:
        assert record["labels"] == [name for name in CLASSES if record["probabilities"][name] > 0.5]
    table = tiny.command("predict", "--model", model, "--format", "csv", tmp_path / "texts.txt").out
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["labels"] for row in rows] == ["|".join(record["labels"]) for record in records]


@pytest.mark.parametrize("config", [{"problem_type": "regression"}, {}], ids=["regression", "one output"])
def test_scores(tmp_path: Path, config: dict[str, str]) -> None:
    model = trained.classifier(tmp_path / "m", "value", **config)
    (tmp_path / "texts.txt").write_text("\n".join(sentences(5)))
    records = predicted("--model", model, tmp_path / "texts.txt")
    expected = by_pipeline(model, sentences(5), function_to_apply="none")
    assert [each["score"] for each in records] == pytest.approx([e["value"] for e in expected], abs=1e-5)
    assert list(records[0]) == ["text", "score"]


def test_several_scores(tmp_path: Path) -> None:
    model = trained.classifier(tmp_path / "m", "joy", "fear", problem_type="regression")
    (tmp_path / "texts.txt").write_text("\n".join(sentences(3)))
    records = predicted("--model", model, tmp_path / "texts.txt")
    expected = by_pipeline(model, sentences(3), function_to_apply="none")
    assert [record["scores"] for record in records] == [pytest.approx(e, abs=1e-5) for e in expected]
    table = tiny.command("predict", "--model", model, "--format", "tsv", tmp_path / "texts.txt").out
    assert table.splitlines()[0] == "text\tscore_joy\tscore_fear"


def test_a_model_of_transformers(tmp_path: Path) -> None:
    config = hf_samples.bert_config(id2label=dict(enumerate(CLASSES)))
    model = trained.save(tmp_path / "m", BertForSequenceClassification(config))
    (tmp_path / "texts.txt").write_text("\n".join(sentences(5)))
    check(predicted("--model", model, tmp_path / "texts.txt"), by_pipeline(model, sentences(5)))


TEXTS = ['it was "good"', "the film, a bad film", "Anna"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\n".join(TEXTS)),
        ("a.jsonl", "".join(json.dumps({"id": 1, "sentence": text}) + "\n\n" for text in TEXTS)),
        ("a.ndjson", "".join(json.dumps({"sentence": text}) + "\n" for text in TEXTS)),
        ("a.csv", "sentence,id\r\n" + "".join(f'"{t.replace(chr(34), chr(34) * 2)}",7\r\n' for t in TEXTS)),
        ("a.tsv", "id\tsentence\n" + "".join(f"3\t{text}\n" for text in TEXTS)),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_of_texts(model: Path, tmp_path: Path, name: str, content: str, packed: bool) -> None:
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    records = predicted("--model", model, path)
    assert [record["text" if name == "a.txt" else "sentence"] for record in records] == TEXTS


@pytest.mark.parametrize(
    ("content", "column"),
    [
        ("\n".join(TEXTS), "text"),
        ("".join(json.dumps({"body": t}) + "\n" for t in TEXTS), "body"),
        ("\n \n" + "".join(json.dumps({"body": t}) + "\n" for t in TEXTS), "body"),
    ],
    ids=["lines", "JSON lines", "JSON lines after a blank one"],
)
def test_standard_input(model: Path, monkeypatch: pytest.MonkeyPatch, content: str, column: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(content))
    assert [record[column] for record in predicted("--model", model, "-")] == TEXTS


def test_several_inputs_follow_each_other(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("good\n")
    (tmp_path / "b.csv").write_text("review\nbad\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("film"))
    records = predicted("--model", model, tmp_path / "a.txt", "-", tmp_path / "b.csv")
    assert [record["review"] for record in records] == ["good", "film", "bad"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_files_of_results(model: Path, tmp_path: Path, ending: str) -> None:
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": 'a\t"bad"\nfilm'}) + "\n")
    out = tmp_path / f"new/results.{ending}"
    done = tiny.command("predict", "--model", model, "--out", out, tmp_path / "texts.jsonl")
    assert (done.code, done.out) == (0, "")
    assert done.log.endswith(f"1 text predicted; results in {out}\n")
    (record,) = predicted("--model", model, tmp_path / "texts.jsonl")
    written = out.read_text()
    if ending == "jsonl":
        assert json.loads(written) == record
    else:
        lines = io.StringIO(written, newline="")
        tabs = ending == "tsv"
        header, row = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines)
        assert header == ["text", "label", "probability", *(f"probability_{name}" for name in CLASSES)]
        text = 'a "bad" film' if ending == "tsv" else record["text"]
        numbers = [record["probability"], *record["probabilities"].values()]
        assert row == [text, record["label"], *map(str, numbers)]
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("text", ["a\rb", "a\r\nb", "a\r", 'a,"\n"', "a;b|c"])
def test_a_table_holds_any_text_and_can_be_predicted_again(model: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text, "id": text}) + "\n")
    given = ("predict", "--model", model, "--keep-columns", "id", "--out")
    assert tiny.command(*given, tmp_path / "b.csv", tmp_path / "a.jsonl").code == 0
    with (tmp_path / "b.csv").open(newline="") as stream:
        header, row, *rest = csv.reader(stream, strict=True)
    assert (header[:2], row[:2], rest) == (["id", "text"], [text, text], [])
    done = tiny.command(*given, tmp_path / "c.csv", tmp_path / "b.csv")
    assert done.code == 0, done.err


def test_a_link_is_kept_and_its_target_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("good\n")
    (tmp_path / "out.csv").symlink_to(tmp_path / "target.csv")
    assert (
        tiny.command("predict", "--model", model, "-o", tmp_path / "out.csv", tmp_path / "texts.txt").code
        == 0
    )
    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text().startswith("text,label")


def test_an_older_file_is_replaced(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("good\n")
    (tmp_path / "out.csv").write_text("old")
    assert (
        tiny.command("predict", "--model", model, "-o", tmp_path / "out.csv", tmp_path / "texts.txt").code
        == 0
    )
    assert (tmp_path / "out.csv").read_text().startswith("text,label")


def test_empty_and_long_texts_are_counted(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("good\n\n  \n" + "bad " * 15 + "\n" + "bad " * 14 + "\n")
    done = tiny.command("predict", "--model", model, tmp_path / "texts.txt")
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["label"] is None for record in records] == [False, True, True, False, False]
    assert records[1] == {
        "text": "",
        "label": None,
        "probability": None,
        "probabilities": dict.fromkeys(CLASSES),
    }
    assert records[3]["probabilities"] == pytest.approx(records[4]["probabilities"], abs=1e-6)
    assert done.log.splitlines()[-1] == (
        "5 texts predicted, 1 of them longer than 16 tokens and cut, 2 of them empty, with an empty result"
    )
    table = tiny.command("predict", "--model", model, "--format", "csv", tmp_path / "texts.txt").out
    assert table.splitlines()[2] == ",,,,,"
