"""Tasks of tags: their files, the Hub, tasks of one's own, and data that cannot be learned or evaluated."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from autobert_zero.errors import UserError
from autobert_zero.finetune.kinds import find_task
from autobert_zero.finetune.tags.data import load_tags
from autobert_zero.finetune.tags.task import TAG_TASKS, TagTask

GOOD = {
    "train.conll": "a O\nb B-A\nc I-A\n\nb B-A\n",
    "dev.conll": "b B-A\n",
    "test.conll": "c B-A\n",
}


def files(folder: Path, **contents: str | None) -> Path:
    """A folder with the good files and others; None leaves one out."""
    folder.mkdir(exist_ok=True)
    for name, text in (GOOD | {f"{stem}.conll": text for stem, text in contents.items()}).items():
        if text is not None:
            (folder / name).write_text(text)
    return folder


def task(tmp_path: Path, text: str = "") -> TagTask:
    path = tmp_path / "names.yaml"
    path.write_text(f"kind: tags\n{text}")
    found = find_task(str(path))
    assert isinstance(found, TagTask)
    return found


def test_splits_and_labels(tmp_path: Path) -> None:
    data = load_tags(task(tmp_path), files(tmp_path / "d"))
    assert list(data.splits) == ["train", "validation", "test"]
    assert data.labels == ("O", "B-A", "I-A")
    assert data.scheme == "iob2"
    assert [list(each.tags or ()) for each in data.splits["test"]] == [["B-A"]]


def test_the_test_split_may_be_missing_or_without_tags(tmp_path: Path) -> None:
    assert list(load_tags(task(tmp_path), files(tmp_path / "a", test=None)).splits) == ["train", "validation"]
    data = load_tags(task(tmp_path), files(tmp_path / "b", test="x\ny\n"))
    assert data.splits["test"][0].tags is None


def test_iob1_and_bioes_become_iob2(tmp_path: Path) -> None:
    folder = files(tmp_path / "a", train="a I-A\nb B-A\nc O\n", dev="a I-A\n", test=None)
    data = load_tags(task(tmp_path), folder)
    assert data.scheme == "iob1"
    assert list(data.splits["train"][0].tags or ()) == ["B-A", "B-A", "O"]
    assert data.labels == ("O", "B-A")
    folder = files(tmp_path / "b", train="a B-A\nb E-A\nc O\n", dev="a S-A\n", test=None)
    assert load_tags(task(tmp_path), folder).scheme == "bioes"
    mixed = files(tmp_path / "c", train="a O\nb I-A\nc O\nd B-A\n", test=None)
    with pytest.raises(UserError, match=r"line 2: I-A without B-A before it"):
        load_tags(task(tmp_path), mixed)
    data = load_tags(task(tmp_path, "scheme: iob1"), mixed)
    assert list(data.splits["train"][0].tags or ()) == ["O", "B-A", "O", "B-A"]


def test_plain_tags(tmp_path: Path) -> None:
    folder = files(tmp_path / "d", train="a NN\nb VB\n", dev="b NN\n", test=None)
    data = load_tags(task(tmp_path), folder)
    assert (data.scheme, data.labels, data.fitting_metrics) == ("plain", ("NN", "VB"), ("accuracy",))
    with pytest.raises(UserError, match="f1 is a metric of entities, but the tags mark none"):
        load_tags(task(tmp_path, "metrics: [accuracy, f1]"), folder)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"train": None}, r"task names: .*train\.conll \(or \.conllu, .*\) is missing; add it"),
        (
            {"dev": None},
            r"validation\.conll .* is missing; add it, or name other splits under `validation` i",
        ),
        ({"train": ""}, r"train\.conll has no sentences"),
        ({"dev": "\n\n"}, r"dev\.conll has no sentences"),
        (
            {"train": "a O\nb B-A\nc\n"},
            r"task names: .*train\.conll, line 3: 1 column, but the tag is in colu",
        ),
        ({"train": "a\nb\n"}, r"train\.conll, line 1: 1 column, so there are no tags"),
        (
            {"train": "a O\n\nb B-A\nc X-A\n"},
            r"task names: .*train\.conll, line 4: the tag 'X-A' is none of IOB2",
        ),
        ({"train": "a O\nb B-\nb B-A\n"}, r"train\.conll, line 2: the tag 'B-' is none of IOB2"),
        ({"train": "a O\nb A\nb B-A\n"}, r"train\.conll, line 2: the tag 'A' is none of IOB2"),
        ({"test": "a O\nb O-A\n"}, r"test\.conll, line 2: the tag 'O-A' is none of IOB2"),
        ({"dev": "b B-A\n\nb O\na B-C\n"}, r"dev\.conll, line 4: the tag 'B-C' does not occur in train"),
        (
            {"train": "a O\nb B-A\n", "dev": "a B-A\nb I-A\n"},
            r"dev\.conll, line 2: the tag 'I-A' does not occur",
        ),
        (
            {"train": "a O\nb O\n", "dev": "b O\n"},
            r"every word of .*train\.conll has the tag O, which leaves not",
        ),
        ({"dev": "a O\n"}, r"dev\.conll has no entity: all its tags are O"),
        (
            {"test": "a O\n"},
            r"test\.conll has no entity: all its tags are O; leave the tags out if",
        ),
        ({"test": "a O\nb B-C\n"}, r"test\.conll, line 2: the tag 'B-C' does not occur in train"),
    ],
)
def test_data_that_cannot_be(tmp_path: Path, contents: dict[str, str | None], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_tags(task(tmp_path), files(tmp_path / "d", **{"test": None, **contents}))
    assert "\n" not in str(caught.value)


def test_names_of_files(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"):
        (own / name).write_text("a\tO\nb\tB-person\n")
    assert len(load_tags(TAG_TASKS["wnut17"], own).splits) == 3
    (own / "train.conll").write_text("a\tO\nb\tB-person\n")
    with pytest.raises(
        UserError, match=r"has train\.conll and wnut17train\.conll for the split train; keep one"
    ):
        load_tags(TAG_TASKS["wnut17"], own)
    universal = tmp_path / "universal"
    universal.mkdir()
    for name in ("en_x-ud-train.conllu", "en_x-ud-dev.conllu"):
        (universal / name).write_text("1\ta\t_\tNOUN\n2\tb\t_\tVERB\n")
    assert load_tags(task(tmp_path), universal).labels == ("NOUN", "VERB")
    with pytest.raises(UserError, match="there is no folder"):
        load_tags(task(tmp_path), tmp_path / "none")


def test_json_lines(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    lines = [{"words": ["a", "b"], "pos": ["NN", "VB"]}, {"words": [], "pos": []}]
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = task(tmp_path, "token_column: words\ntag_column: pos")
    assert [list(each.words) for each in load_tags(given, folder).splits["train"]] == [["a", "b"]]
    for line, message in (
        ({"words": ["a"]}, "line 1: no column 'pos'; there are words"),
        ({"words": ["a"], "pos": ["NN", "VB"]}, "line 1: 1 word in 'words', but 2 tags"),
        ({"words": "a", "pos": ["NN"]}, "line 1: 'words' is not a list"),
        ({"words": ["a"], "pos": [3]}, "line 1, word 1: 3 in 'pos' is not text"),
        ({"words": [""], "pos": ["NN"]}, "line 1, word 1: '' in 'words' is not text"),
        ({"words": ["a\nb"], "pos": ["NN"]}, "line 1, word 1: .* has a tab or a line break"),
        ({"words": ["a\ud800"], "pos": ["NN"]}, "line 1, word 1: .* has half a character"),
        ({"words": ["a"], "pos": ["\udc00"]}, "line 1, word 1: .* in 'pos' has half a character"),
    ):
        (folder / "train.jsonl").write_text(json.dumps(line))
        with pytest.raises(UserError, match=message):
            load_tags(given, folder)
    (folder / "train.jsonl").write_text(json.dumps(lines[0]))
    (folder / "test.jsonl").write_text('{"words": ["a"], "pos": ["NN"]}\n{"words": ["a"]}\n')
    with pytest.raises(UserError, match=r"test\.jsonl, line 2: no tags; give every sentence of the split"):
        load_tags(given, folder)


def hub(monkeypatch: pytest.MonkeyPatch, scripted: bool = False, **splits: list[list[int]]) -> list[Any]:
    """A Hub whose every dataset has these tags; returns the requests that it will have got."""
    requests: list[Any] = []

    def load(name: str, configuration: str | None, split: str, revision: str | None = None) -> Dataset:
        requests.append((name, configuration, split, revision))
        if scripted and revision is None:
            raise RuntimeError("Dataset scripts are no longer supported, but found x.py")
        if split not in splits:
            raise ValueError(f'Unknown split "{split}". Should be one of {[*splits]}.')
        features = Features(
            {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-A", "I-A"]))}
        )
        rows = [{"tokens": [f"w{n}" for n in range(len(tags))], "ner_tags": tags} for tags in splits[split]]
        return Dataset.from_list(rows, features=features)

    monkeypatch.setattr("autobert_zero.finetune.splits.load_dataset", load)
    monkeypatch.setattr("autobert_zero.finetune.splits.check_hub", lambda *given: None)
    return requests


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = hub(monkeypatch, train=[[0, 1, 2], [0]], validation=[[1]], test=[[-1, -1]])
    data = load_tags(TAG_TASKS["wnut17"], None)
    assert list(data.splits["train"][0].tags or ()) == ["O", "B-A", "I-A"]
    assert list(data.splits["train"][0].words) == ["w0", "w1", "w2"]
    assert data.splits["test"][0].tags is None
    assert requests[0] == ("leondz/wnut_17", None, "train", None)


def test_a_dataset_that_needs_code_is_read_from_the_hubs_conversion(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    requests = hub(monkeypatch, scripted=True, train=[[0, 1, 2]], validation=[[1]])
    data = load_tags(task(tmp_path, "hub: someone/names:english"), None)
    assert list(data.splits) == ["train", "validation"]
    assert requests[1] == ("someone/names", "english", "train", "refs/convert/parquet")


def test_what_the_hub_cannot_give(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub(monkeypatch, train=[[0, 1]], validation=[[-1]])
    with pytest.raises(UserError, match="wnut_17:validation, example 1, word 1: -1 in 'ner_tags'"):
        load_tags(TAG_TASKS["wnut17"], None)
    with pytest.raises(UserError, match=r"no column 'upos'; there are tokens, ner_tags"):
        load_tags(task(tmp_path, "hub: x/y\ntag_column: upos"), None)
    with pytest.raises(
        UserError, match="task names: it is not on the Hub: name the folder of its files with --data"
    ):
        load_tags(task(tmp_path), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: [a]", "unknown key columns; there are hub, metrics, name, scheme"),
        ("tag_colum: 2", "unknown key tag_colum; .*did you mean tag_column"),
        ("tag_column: [2]", "tag_column must be a text, not list"),
        ("tag_column: 0", "columns count from 1, or from -1 for the last one; there is no 0"),
        ("token_column: 2\ntag_column: 2", "token_column and tag_column are both 2"),
        ("scheme: IOB", "scheme must be one of iob1, iob2, bioes, plain, not IOB"),
        ("metrics: [macro_f1]", "metrics must be among f1, precision, recall, accuracy, not macro_f1"),
        ("metrics: f1", "metrics must be a list of texts"),
        ("metrics: [f1, f1]", "a metric is there twice: f1"),
        ("validation: [test]", "validation must be one or more splits"),
        ("name: a/b", "the name must do as the name of a file"),
        ("test: [a, a]", "a split is there twice: a"),
    ],
)
def test_tasks_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        task(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'names.yaml'}: ")


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    given = task(tmp_path, "token_column: 2\ntag_column: -1\nscheme: iob1\nmetrics: [accuracy]\ntest: []")
    assert given == TagTask("names", 2, -1, "iob1", ("accuracy",), test=())
    assert given.folder(tmp_path) == tmp_path / "names"
