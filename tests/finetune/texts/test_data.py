"""Files of a task: what is read, and what is refused with its place."""

import gzip
import json
from pathlib import Path

import pytest

from autobert_zero.errors import UserError
from autobert_zero.finetune.texts.data import load_splits
from autobert_zero.finetune.texts.glue import TASKS
from autobert_zero.finetune.texts.task import Task


def lines(*examples: object) -> str:
    return "".join(json.dumps(example) + "\n" for example in examples)


@pytest.fixture
def cola(tmp_path: Path) -> Path:
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text(
            lines({"sentence": "a b", "label": 1}, {"sentence": "c", "label": 0})
        )
    return tmp_path


def test_jsonl(cola: Path) -> None:
    (cola / "test.jsonl").write_text(lines({"sentence": "hidden", "label": -1}))
    splits = load_splits(TASKS["cola"], cola)
    assert splits["train"].to_list() == [{"text": "a b", "label": 1}, {"text": "c", "label": 0}]
    assert splits["test"].to_list() == [{"text": "hidden"}]


def test_csv_with_line_breaks_and_named_labels(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text(
            'question,sentence,label\n"a, b","two\nlines",entailment\nc,d,not_entailment\n'
        )
    assert load_splits(TASKS["qnli"], tmp_path)["train"].to_list() == [
        {"text": "a, b", "pair": "two\nlines", "label": 0},
        {"text": "c", "pair": "d", "label": 1},
    ]


MRPC = 'Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t5\t6\tHe said "a\tb\n'
STSB = "index\tgenre\tsentence1\tsentence2\tscore\n0\tx\ta\tb\t3.250\n"
MNLI = "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\ta\tb\tneutral\tcontradiction\n"


@pytest.mark.parametrize(
    ("task", "files", "first"),
    [
        ("cola", {"train": "gj04\t1\t\tA b.\n", "dev": "gj04\t1\t\tC.\n"}, {"text": "A b.", "label": 1}),
        ("mrpc", {"train": MRPC, "dev": MRPC}, {"text": 'He said "a', "pair": "b", "label": 1}),
        ("stsb", {"train": STSB, "dev": STSB}, {"text": "a", "pair": "b", "label": 3.25}),
        (
            "mnli",
            {"train": MNLI, "dev_matched": MNLI, "dev_mismatched": MNLI},
            {"text": "a", "pair": "b", "label": 2},
        ),
    ],
)
def test_glues_own_files(tmp_path: Path, task: str, files: dict[str, str], first: dict[str, object]) -> None:
    for split, text in files.items():
        (tmp_path / f"{split}.tsv").write_text(text)
    splits = load_splits(TASKS[task], tmp_path)
    assert splits["train"].to_list() == [first]
    assert set(splits) == {"train", *TASKS[task].validation}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train", '{"sentence": "a", "label": 1}\n{"sentence": \n', r"train\.jsonl, line 2: not JSON"),
        ("train", "[1]\n", r"train\.jsonl, line 1: not a JSON object"),
        ("train", "", r"train\.jsonl has no examples"),
        (
            "train",
            '{"text": "a", "label": 1}\n',
            "line 1: no text in column 'sentence'; there are text, label",
        ),
        ("train", '{"sentence": "a"}\n', "line 1: no column 'label'"),
        (
            "train",
            '\n{"sentence": "a", "label": 2}\n',
            "line 2: label 2 is none of 0, 1$",
        ),
        ("train", '{"sentence": "a", "label": 0.5}\n', "line 1: label 0.5 is none"),
        ("train", '{"sentence": "a", "label": true}\n', "line 1: label True is none"),
        ("train", '{"sentence": "a", "label": Infinity}\n', "line 1: label inf is none"),
        (
            "validation",
            '{"sentence": "a", "label": "bad"}\n',
            r"validation\.jsonl, line 1: label 'bad' is none",
        ),
    ],
)
def test_broken_files(cola: Path, name: str, text: str, message: str) -> None:
    (cola / f"{name}.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        load_splits(TASKS["cola"], cola)


def test_missing_files(cola: Path) -> None:
    (cola / "validation.jsonl").unlink()
    with pytest.raises(UserError, match=r"validation\.jsonl \(or \.csv, \.tsv\) is missing"):
        load_splits(TASKS["cola"], cola)
    with pytest.raises(UserError, match="there is no folder"):
        load_splits(TASKS["cola"], cola / "none")


def test_a_short_row_and_a_value_that_is_no_number(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / f"{split}.tsv").write_text("sentence1\tsentence2\tscore\na\tb\n")
    with pytest.raises(UserError, match="line 2: 2 columns, not 3"):
        load_splits(TASKS["stsb"], tmp_path)
    (tmp_path / "train.tsv").write_text("sentence1\tsentence2\tscore\na\tb\tmuch\n")
    with pytest.raises(UserError, match="label 'much' is not a number"):
        load_splits(TASKS["stsb"], tmp_path)
    (tmp_path / "train.tsv").write_text("sentence1\tsentence2\tscore\na\tb\tnan\n")
    with pytest.raises(UserError, match="label 'nan' is not a number"):
        load_splits(TASKS["stsb"], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sentence,label\nhello, world,1\n", "line 2: 3 columns, not 2; quote the text"),
        ("sentence,label,label\na,0,1\n", "has two columns 'label'"),
        ('sentence,label\na,1\n"b,0\nc,1\n', "line 3: unexpected end of data; is a quote left open"),
    ],
)
def test_broken_tables(cola: Path, text: str, message: str) -> None:
    (cola / "train.jsonl").unlink()
    (cola / "train.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        load_splits(TASKS["cola"], cola)


def test_long_fields_and_byte_order_marks(cola: Path) -> None:
    (cola / "train.jsonl").unlink()
    (cola / "train.csv").write_text(f"sentence,label\n{'a' * 200_000},1\n", encoding="utf-8-sig")
    (cola / "validation.jsonl").write_text(lines({"sentence": "a", "label": 1}), encoding="utf-8-sig")
    splits = load_splits(TASKS["cola"], cola)
    assert len(splits["train"][0]["text"]) == 200_000
    assert splits["validation"].to_list() == [{"text": "a", "label": 1}]


def test_short_lines_of_qqp_are_left_out(tmp_path: Path) -> None:
    text = "id\tquestion1\tquestion2\tis_duplicate\n1\ta\tb\t1\n2\tc\n3\td\te\t0\n"
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text(text)
    assert [row["text"] for row in load_splits(TASKS["qqp"], tmp_path)["train"]] == ["a", "d"]


def test_folders_of_glues_archives(tmp_path: Path) -> None:
    for folder in ("SST-2", "MNLI", "rte"):
        (tmp_path / folder).mkdir()
    found = {name: task.folder(tmp_path).name for name, task in TASKS.items()}
    assert (found["sst2"], found["mnli"], found["rte"], found["cola"]) == ("SST-2", "MNLI", "rte", "cola")


def test_colas_file_with_a_header(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / f"{split}.tsv").write_text("sentence\tlabel\na b\t1\n")
    assert load_splits(TASKS["cola"], tmp_path)["train"].to_list() == [{"text": "a b", "label": 1}]


STARS = Task("stars", ("sentence",), ("1", "2", "3", "4", "5"), ("accuracy",))
TOPICS = Task("topics", ("sentence",), ("sport", "art", "film"), ("accuracy",))


def classes(folder: Path, task: Task, texts: dict[str, str], ending: str) -> list[int]:
    """The classes of the training split of a made-up task."""
    for split, text in texts.items():
        (folder / f"{split}.{ending}").write_text(text)
    return list(load_splits(task, folder)["train"]["label"])


@pytest.mark.parametrize("labels", [["1.0", "4.0"], ["1", "4"], ["1", "04"]])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_stars_in_tables(tmp_path: Path, labels: list[str], ending: str) -> None:
    mark = {"csv": ",", "tsv": "\t"}[ending]
    text = "".join(f"{cell}{mark}{label}\n" for cell, label in zip("sab", ["label", *labels], strict=True))
    text = text.replace("s", "sentence", 1)
    assert classes(tmp_path, STARS, {"train": text, "validation": text}, ending) == [0, 3]


def test_stars_in_json(tmp_path: Path) -> None:
    text = lines(*({"sentence": "a", "label": label} for label in (1, 2.0, "3", "4.0", 5)))
    assert classes(tmp_path, STARS, {"train": text, "validation": text}, "jsonl") == [0, 1, 2, 3, 4]


def test_a_star_too_few_or_too_many(tmp_path: Path) -> None:
    for label in (0, 6, 1.5):
        text = lines({"sentence": "a", "label": 1}, {"sentence": "a", "label": label})
        with pytest.raises(UserError, match=rf"line 2: label {label} is none of 1, 2, 3, 4, 5$"):
            classes(tmp_path, STARS, {"train": text, "validation": text}, "jsonl")


def test_numbers_that_seem_to_count_from_one(tmp_path: Path) -> None:
    text = lines({"sentence": "a", "label": 2}, {"sentence": "a", "label": 1})
    with pytest.raises(UserError, match=r"line 1: numbers stand for classes, .* 0 \(sport\) never occurs"):
        classes(tmp_path, TOPICS, {"train": text, "validation": text}, "jsonl")
    more = text + lines({"sentence": "a", "label": 0})
    assert classes(tmp_path, TOPICS, {"train": more, "validation": text}, "jsonl") == [2, 1, 0]


def test_a_class_that_cannot_be_learned(tmp_path: Path) -> None:
    train = lines(*({"sentence": "a", "label": label} for label in ("sport", "art")))
    validation = train + lines({"sentence": "a", "label": "film"})
    with pytest.raises(UserError, match=r"validation\.jsonl, line 3: label 'film' does not occur in train"):
        classes(tmp_path, TOPICS, {"train": train, "validation": validation}, "jsonl")
    # The other way round nothing is wrong.
    assert classes(tmp_path, TOPICS, {"train": validation, "validation": train}, "jsonl") == [0, 1, 2]


def test_columns_of_glue_are_not_taken_for_those_of_others(tmp_path: Path) -> None:
    task = Task("mine", ("sentence1",), (), ("pearson",))
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text("sentence1,score\na,1\n")
    with pytest.raises(UserError, match="line 2: no column 'label'; there are sentence1, score"):
        load_splits(task, tmp_path)


def test_two_files_of_one_split(cola: Path) -> None:
    (cola / "train.csv").write_text("sentence,label\na,1\n")
    with pytest.raises(UserError, match=r"has train\.jsonl and train\.csv for the split train; keep one"):
        load_splits(TASKS["cola"], cola)
    (cola / "train.csv").unlink()
    (cola / "dev.tsv").write_text("sentence\tlabel\na\t1\n")
    with pytest.raises(UserError, match=r"has validation\.jsonl and dev\.tsv"):
        load_splits(TASKS["cola"], cola)


def test_files_with_capitals_and_compressed_ones(cola: Path) -> None:
    """A test split that is not found would be left out without a word."""
    before = load_splits(TASKS["cola"], cola)
    for split in ("train", "validation"):
        content = (cola / f"{split}.jsonl").read_bytes()
        (cola / f"{split}.jsonl").unlink()
        (cola / f"{split.title()}.JSONL.gz").write_bytes(gzip.compress(content))
    (cola / "TEST.Csv").write_text("sentence\nhidden\n")
    splits = load_splits(TASKS["cola"], cola)
    assert all(splits[split].to_list() == before[split].to_list() for split in before)
    assert splits["test"].to_list() == [{"text": "hidden"}]
    (cola / "test.csv.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"has TEST\.Csv and test\.csv\.gz for the split test; keep one"):
        load_splits(TASKS["cola"], cola)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"sentence": "a", "label": None}, "line 1: no label; there are sentence, label"),
        ({"sentence": 7, "label": 1}, "line 1: no text in column 'sentence', but 7"),
        ({"sentence": ["a"], "label": 1}, "line 1: no text in column 'sentence', but \\['a'\\]"),
    ],
)
def test_cells_without_text_or_label(cola: Path, example: object, message: str) -> None:
    (cola / "train.jsonl").write_text(lines(example))
    with pytest.raises(UserError, match=message):
        load_splits(TASKS["cola"], cola)


@pytest.mark.parametrize("text", ["", " \t", "\u3000\n"])
def test_texts_without_words(cola: Path, text: str) -> None:
    examples = [{"sentence": text, "label": label} for label in (0, 1)]
    (cola / "train.jsonl").write_text(lines(*examples))
    with pytest.raises(UserError, match=r"train\.jsonl has no text in 'sentence', only spaces"):
        load_splits(TASKS["cola"], cola)
    (cola / "train.jsonl").write_text(lines(*examples, {"sentence": "a", "label": 1}))
    assert len(load_splits(TASKS["cola"], cola)["train"]) == 3


def test_half_characters_and_repeated_keys(cola: Path) -> None:
    (cola / "train.jsonl").write_text('{"sentence": "a", "label": 1}\n{"sentence": "\\ud800", "label": 1}\n')
    with pytest.raises(UserError, match="line 2: column 'sentence' has half a character"):
        load_splits(TASKS["cola"], cola)
    (cola / "train.jsonl").write_text('{"sentence": "a", "label": 1, "label": 0}\n')
    with pytest.raises(UserError, match="line 1: not JSON: the key 'label' is given twice"):
        load_splits(TASKS["cola"], cola)
    (cola / "train.jsonl").write_text("[" * 100_000 + "\n")
    with pytest.raises(UserError, match="line 1: nested too deeply"):
        load_splits(TASKS["cola"], cola)


SENTENCES = ("a b", "c", "d e")


@pytest.mark.parametrize(
    ("task", "labels", "read"),
    [
        ("cola", (1, 0, 1), [1, 0, 1]),
        ("cola", ("0", "1", 1.0), [0, 1, 1]),
        ("cola", (-1, -1, -1), None),
        ("cola", ("-1", -1.0, ""), None),
        ("cola", (None, None, None), None),
        ("stars", (-1, 1, 1), [0, 1, 1]),
        ("stars", (-1, -1, -1), [0, 0, 0]),
        ("value", (-1, 2, 0.5), [-1.0, 2.0, 0.5]),
        ("value", (-1, -1.0, "-1"), None),
    ],
)
def test_labels_of_test_are_read_where_they_are_not_hidden(
    tmp_path: Path, task: str, labels: tuple[object, ...], read: list[float] | None
) -> None:
    """-1 stands for a hidden label, unless a class has that name or values differ."""
    tasks = {
        "cola": TASKS["cola"],
        "stars": Task("stars", ("sentence",), ("-1", "1"), ("accuracy",)),
        "value": Task("value", ("sentence",), (), ("pearson",)),
    }
    for split in ("train", "validation"):
        given = {"cola": (0, 1, 1), "stars": (-1, 1, 1), "value": (0, 1, 2)}[task]
        write_split(tmp_path, split, given)
    write_split(tmp_path, "test", labels)
    test = load_splits(tasks[task], tmp_path)["test"]
    assert list(test["text"]) == list(SENTENCES)
    assert (list(test["label"]) if "label" in test.column_names else None) == read


def write_split(folder: Path, split: str, labels: tuple[object, ...]) -> None:
    rows = ({"sentence": text, "label": label} for text, label in zip(SENTENCES, labels, strict=True))
    (folder / f"{split}.jsonl").write_text(lines(*rows))


@pytest.mark.parametrize(
    ("task", "split", "labels", "message"),
    [
        ("cola", "test", (1, 0, 2), r"test\.jsonl, line 3: label 2 is none of 0, 1"),
        ("cola", "test", (1, -1, 0), r"test\.jsonl, line 2: label -1 is none of 0, 1"),
        (
            "cola",
            "test",
            (1, 0, None),
            r"test\.jsonl, line 3: no label; give every example",
        ),
        ("topics", "test", (0, 1, 2), r"test\.jsonl, line 3: label 'c' does not occur in train"),
        ("cola", "train", (1, 1, 1), r"train\.jsonl: all 3 labels are 1, so there is nothing to learn"),
        (
            "value",
            "train",
            (2, 2.0, "2"),
            r"train\.jsonl: all 3 labels are 2.0, so there is nothing",
        ),
        ("value", "validation", (0, 0, 0), r"validation\.jsonl: all 3 labels are 0.0, so no correlation"),
        ("value", "test", (0, 0, 0), r"leave the column out if they stand for hidden labels"),
        ("value", "test", (0, 1, "x"), r"test\.jsonl, line 3: label 'x' is not a number"),
        ("value", "test", (0, 1, -1e300), r"test\.jsonl, line 3: label -1e\+300 is too large to be learned"),
    ],
)
def test_labels_that_cannot_be_scored(
    tmp_path: Path, task: str, split: str, labels: tuple[object, ...], message: str
) -> None:
    tasks = {
        "cola": TASKS["cola"],
        "topics": Task("topics", ("sentence",), ("a", "b", "c"), ("accuracy",)),
        "value": Task("value", ("sentence",), (), ("pearson",)),
    }
    for good in ("train", "validation", "test"):
        write_split(tmp_path, good, (0, 1, 1))
    write_split(tmp_path, split, labels)
    with pytest.raises(UserError, match=message):
        load_splits(tasks[task], tmp_path)
