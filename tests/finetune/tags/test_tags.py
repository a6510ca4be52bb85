"""Tagging: labels and predictions of words, metrics by hand, and a language whose names are easy to find."""

import json
import warnings
from pathlib import Path
from random import Random
from typing import Any

import hf_samples
import numpy as np
import pytest
import tiny
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, BertForMaskedLM, pipeline

from autobert_zero.data.corpus import Corpus
from autobert_zero.data.kinds import train_kind
from autobert_zero.data.normalisation import Spelling
from autobert_zero.finetune.metrics import tag_metrics
from autobert_zero.finetune.tags.data import TagData
from autobert_zero.finetune.tags.schemes import Scheme
from autobert_zero.finetune.tags.sentences import TaggedSentence
from autobert_zero.finetune.tags.tagging import Tagging
from autobert_zero.finetune.tags.task import TagTask
from autobert_zero.hf import AutoBertZeroForMaskedLM
from autobert_zero.hf.tokenizer import wrap_tokenizer

SENTENCES = [
    (["New", "York", "is", "far", "from", "Rome", "Paris"], ["B-L", "I-L", "O", "O", "O", "B-L", "B-L"]),
    (["Ann", "saw", "\u200b", "Bob"], ["B-P", "O", "O", "B-P"]),
    (("a b c d Rome " * 8).split(), ["O", "O", "O", "O", "B-L"] * 8),
]


def data(
    sentences: list[tuple[list[str], list[str]]] = SENTENCES, scheme: Scheme = "iob2", test: bool = True
) -> TagData:
    made = [TaggedSentence(words, tags, "made up") for words, tags in sentences]
    labels = tuple(sorted({tag for _, tags in sentences for tag in tags}))
    bare = [TaggedSentence(words, None, "made up") for words, _ in sentences]
    return TagData({"train": made, "validation": made, **({"test": bare} if test else {})}, scheme, labels)


def tokenizer(kind: str, cased: bool = True) -> Any:
    text = [*tiny.paragraphs(40), *(" ".join(words) for words, _ in SENTENCES)]
    made = train_kind(Corpus("tiny", "tiny 0", text), 320, spelling=Spelling(kind, cased=cased))[0]
    return wrap_tokenizer(made, 20)


def certain(problem: Tagging, wrong: int = 0) -> list[list[Any]]:
    """Logits that say what the labels of `train` say, longer than the windows, as a batch pads them."""
    logits = []
    for row in problem.features["train"].rows:
        each = np.zeros((len(row["labels"]) + 3, 5), dtype=np.float32)
        for place, label in enumerate(row["labels"]):
            each[place, label if label >= 0 else wrong] = 9.0
        logits.append(each)
    return [logits]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "character"])
def test_only_the_first_token_of_a_word_is_asked(kind: str) -> None:
    given = tokenizer(kind)
    problem = Tagging(TagTask("t"), data(), given, 20)
    assert problem.decide("train", certain(problem)) == [tags for _, tags in SENTENCES]
    assert problem.decide("validation", certain(problem, wrong=3)) == [tags for _, tags in SENTENCES]
    rows = problem.features["train"].rows
    assert max(len(row["input_ids"]) for row in rows) <= 20
    asked = sum(label >= 0 for row in rows for label in row["labels"])
    empty = kind == "wordpiece"  # the other kinds spell an invisible space
    assert asked == sum(len(words) for words, _ in SENTENCES) - empty
    assert any("read in several so that every word is predicted: " in note for note in problem.notes)
    assert ("words of which the tokenizer makes nothing, predicted as O: 3" in problem.notes) == empty
    assert problem.notes[0] == "9 sentences, 4 tags in IOB2"


def test_labels_of_a_batch_are_padded_on_the_right() -> None:
    given = tokenizer("wordpiece")
    given.padding_side = "left"
    problem = Tagging(TagTask("t"), data(), given, 40)
    batch = problem.features["train"].batch([0, 1])
    labels, ids = batch.targets["labels"], batch.inputs["input_ids"]
    assert labels.shape == ids.shape
    assert set(labels[batch.inputs["attention_mask"] == 0].tolist()) == {-100}
    assert labels[0, 0] == -100  # [CLS]
    assert given.padding_side == "left"


def test_predictions_become_iob2_or_stay_plain() -> None:
    short = [(["a", "b", "c"], ["B-L", "I-L", "O"])]
    problem = Tagging(TagTask("t"), data(short), tokenizer("wordpiece"), 20)
    logits = np.zeros((5, 3), dtype=np.float32)
    logits[[1, 2, 3], [2, 1, 1]] = 1.0  # O I-L I-L
    assert problem.decide("validation", [[logits]]) == [["O", "B-L", "I-L"]]
    plain = [(["a", "b", "\u200b"], ["X", "O", "X"])]
    problem = Tagging(TagTask("t"), data(plain, "plain"), tokenizer("wordpiece"), 20)
    logits = np.zeros((4, 2), dtype=np.float32)
    # The third word has no token: it gets the most frequent tag.
    assert problem.decide("validation", [[logits]]) == [["O", "O", "X"]]
    assert problem.metrics == ("accuracy",)
    assert problem.notes == (
        "3 sentences, 2 plain tags",
        "words of which the tokenizer makes nothing, predicted as X: 3",
    )


def test_trivial_predictions_and_constants() -> None:
    problem = Tagging(TagTask("t"), data(), tokenizer("wordpiece"), 40)
    assert problem.scored == ("validation",)
    trivial = problem.baselines()
    assert problem.measure("validation", trivial["majority tag"]["validation"])["f1"] == 0.0
    assert problem.measure("validation", trivial["tag per word"]["validation"])["f1"] == 1.0
    assert problem.constant([["O"], ["O", "O"]]) == "O"
    assert problem.constant([["O"], ["O", "B-L"]]) is None


def test_what_is_written(tmp_path: Path) -> None:
    short = [(["a", "b c"], ["B-L", "O"]), (["d"], ["O"])]
    problem = Tagging(TagTask("names"), data(short), tokenizer("wordpiece"), 20)
    problem.write(tmp_path, "test", [["O", "B-L"], ["O"]])
    assert (tmp_path / "names-test.conll").read_text() == "a\tO\nb c\tB-L\n\nd\tO\n\n"
    problem.write(tmp_path, "validation", [["O", "B-L"], ["O"]])
    assert (tmp_path / "names-validation.conll").read_text() == "a\tB-L\tO\nb c\tO\tB-L\n\nd\tO\tO\n\n"


@pytest.mark.parametrize(
    ("correct", "predicted", "expected"),
    [
        (["B-A I-A O"], ["B-A I-A O"], (1, 1, 1, 1)),
        # One of two predicted is right, which is one of three: P 1/2, R 1/3, F 2/5; four of six words.
        (["B-A I-A O B-B O B-A"], ["B-A I-A O B-A O O"], (0.4, 1 / 2, 1 / 3, 4 / 6)),
        # A border that is wrong makes an entity wrong, though most of its words are right.
        (["B-A I-A I-A O"], ["B-A I-A O O"], (0, 0, 0, 3 / 4)),
        # Two entities side by side are not one.
        (["B-A B-A"], ["B-A I-A"], (0, 0, 0, 1 / 2)),
        # Entities do not reach over the end of a sentence.
        (["B-A", "B-A"], ["B-A", "I-A"], (1, 1, 1, 1 / 2)),
        (["B-A I-A O"], ["I-A I-A O"], (1, 1, 1, 2 / 3)),
        (["O O"], ["O O"], (0, 0, 0, 1)),
        (["O O"], ["B-A O"], (0, 0, 0, 1 / 2)),
        (["B-A O"], ["O O"], (0, 0, 0, 1 / 2)),
        # Counted over all entities, not averaged over types: 3 of A right, 1 of B wrong.
        (["B-A O B-A O B-A O B-B"], ["B-A O B-A O B-A O O"], (6 / 7, 1, 3 / 4, 6 / 7)),
        # Counted over all sentences, not averaged over them.
        (["B-A", "B-A O B-A O B-A"], ["O", "B-A O B-A O B-A"], (6 / 7, 1, 3 / 4, 5 / 6)),
        (["B-a-b I-a-b"], ["B-a-c I-a-c"], (0, 0, 0, 0)),
    ],
)
def test_metrics_by_hand(
    correct: list[str], predicted: list[str], expected: tuple[float, float, float, float]
) -> None:
    values = tag_metrics([each.split() for each in predicted], [each.split() for each in correct], True)
    assert values == pytest.approx(
        dict(zip(("f1", "precision", "recall", "accuracy"), expected, strict=True))
    )


def test_plain_tags_have_an_accuracy_only() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # seqeval warns of tags that mark no entities
        assert tag_metrics([["NOUN", "VERB"]], [["NOUN", "NOUN"]], entities=False) == {"accuracy": 1 / 2}


NAMES = {"PER": ["Ann", "Bob", "Eve"], "LOC": ["Rome", "Oslo", "York"]}
OTHERS = ["saw", "in", "went", "to", "and", "the"]


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences with names, some of two words, some longer than a tiny model; half of the types in IOB1."""
    folder = tmp_path_factory.mktemp("language")
    random = Random(0)
    for split, count in (("train", 160), ("dev", 30), ("test", 12)):
        lines = []
        for number in range(count):
            for _ in range(random.randint(2, 8) if number % 10 else 30):
                kind = random.choice(["PER", "LOC", "", "", ""])
                words = (
                    random.choices(NAMES[kind], k=random.randint(1, 2)) if kind else [random.choice(OTHERS)]
                )
                lines += [f"{word} x {'I-' * bool(kind)}{kind or 'O'}" for word in words]
                lines += [f"{OTHERS[0]} x O"]  # so that no two entities are neighbours
            lines.append("")
        (folder / f"{split}.conll").write_text("-DOCSTART- x O\n\n" + "\n".join(lines))
    (folder / "names.yaml").write_text("kind: tags\nscheme: iob1\n")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights of 20 positions."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    backbone = ["conv 3", hf_samples.STANDARD]
    AutoBertZeroForMaskedLM(hf_samples.config(backbone, hidden_dropout_prob=0.0)).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *NAMES["PER"], *NAMES["LOC"], *OTHERS]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    wrap_tokenizer(made, 20).save_pretrained(folder)
    return folder


def arguments(model: Path, language: Path, out: Path) -> list[object]:
    given = ("--model", model, "--task", language / "names.yaml", "--data", language, "--out", out)
    return ["finetune", *given, "--rates", "1e-2", "--seeds", 1, "--epochs", 4, "--batch-size", 8]


def test_names_are_learned(model: Path, language: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = tiny.command(*arguments(model, language, out))
    assert done.code == 0, done.err
    score = json.loads((out / "score.json").read_text())
    assert score["mean"]["validation"]["f1"] > 0.9
    assert "| names | f1 | " in done.out
    assert "5 tags in IOB1, converted to IOB2" in done.log
    assert "sentences longer than a window, read in several so that every word is predicted: " in done.log
    lines = (out / "names-test.conll").read_text().splitlines()
    expected = [line.split() for line in (language / "test.conll").read_text().splitlines()[2:]]
    assert [line.split("\t")[0] for line in lines if line] == [cells[0] for cells in expected if cells]
    assert {line.split("\t")[-1] for line in lines if line} == {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}
    tag = pipeline("token-classification", str(out), aggregation_strategy="simple")
    entities = tag("Ann Bob went to Rome")
    assert [(each["entity_group"], each["word"]) for each in entities] == [
        ("PER", "Ann Bob"),
        ("LOC", "Rome"),
    ]


def test_other_models_learn_too(model: Path, language: Path, tmp_path: Path) -> None:
    other = tmp_path / "bert"
    BertForMaskedLM(hf_samples.bert_config()).save_pretrained(other)
    AutoTokenizer.from_pretrained(model).save_pretrained(other)
    out = tmp_path / "out"
    done = tiny.command(*arguments(other, language, out), "--set", "steps=40")
    assert done.code == 0, done.err
    assert json.loads((out / "score.json").read_text())["mean"]["validation"]["accuracy"] > 0.6


@pytest.mark.parametrize("pooling", ["cls", "mean", "cls+mean"])
def test_a_pooling_is_refused(model: Path, language: Path, tmp_path: Path, pooling: str) -> None:
    given = [*arguments(model, language, tmp_path / "out"), "--pooling", pooling]
    for command in (given, ["plan", *given]):
        done = tiny.command(*command)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"whose pooling could be chosen; leave pooling {pooling} out" in done.err
    assert not (tmp_path / "out").exists()


def test_the_config_has_the_names_of_the_tags(model: Path) -> None:
    loaded = Tagging(TagTask("t"), data(), AutoTokenizer.from_pretrained(model), 20).load(str(model))
    assert type(loaded).__name__ == "AutoBertZeroForTokenClassification"
    assert loaded.config.id2label == {0: "B-L", 1: "B-P", 2: "I-L", 3: "O"}
    assert loaded.config.label2id["O"] == 3
    assert loaded(torch.tensor([[2, 5, 3]])).logits.shape == (1, 3, 4)


def test_bad_input_is_one_line_and_changes_nothing(model: Path, language: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "train.conll").write_text("Ann x I-PER\nsaw O\n")
    (broken / "dev.conll").write_text("Ann x I-PER\n")
    before = tiny.contents(tmp_path)
    good = {"--model": model, "--task": language / "names.yaml", "--data": language, "--out": tmp_path / "o"}
    for changes, message in (
        (
            {"--data": broken},
            "task names: " + f"{broken / 'train.conll'}, line 2: 2 columns, but the tag is in",
        ),
        ({"--data": tmp_path}, "train.conll (or .conllu, "),
        ({"--task": "wnut-17"}, "unknown task 'wnut-17'; there are cola, "),
        ({"--task": "wnut-17"}, "did you mean wnut17?"),
        ({"--length": 21}, "--length 21 is more than the 20 positions of"),
    ):
        given = [part for pair in (good | changes).items() for part in pair]
        done = tiny.command("finetune", *given)
        assert done.code == 2, message
        assert message in done.err
        assert tiny.contents(tmp_path) == before
