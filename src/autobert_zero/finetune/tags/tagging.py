"""Tagging words, with names of entities or parts of speech."""

import copy
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.errors import UserError, counted
from autobert_zero.files import write_text
from autobert_zero.finetune.baselines import most_frequent, tag_baselines
from autobert_zero.finetune.features import NO_LABEL, Feature, Features
from autobert_zero.finetune.loading import load_with_head
from autobert_zero.finetune.metrics import tag_metrics
from autobert_zero.finetune.tags.conll import format_conll
from autobert_zero.finetune.tags.data import TagData
from autobert_zero.finetune.tags.schemes import OUTSIDE, begin_with_b
from autobert_zero.finetune.tags.task import TagTask
from autobert_zero.finetune.tags.windows import Windows, split_into_windows


class Tagging:
    """A tagging task with its data; a `Problem`.

    The first token of a word gets the word's tag, the others none. Sentences that are too long for a model
    are read in windows, see `split_into_windows`, so that every word is predicted. A word without tokens is
    predicted as `O`, or as the most frequent of plain tags.

    Args:
        task: The task.
        data: Result of `load_tags`.
        tokenizer: Tokenizer of the model; a fast one.
        length: Maximum number of tokens in a window.

    Raises:
        UserError: The tokenizer cannot be used.
    """

    outputs: tuple[str, ...] = ("logits",)
    cut = 0  # long sentences are split
    pooled = False

    def __init__(self, task: TagTask, data: TagData, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        self.name = task.name
        self.metrics: tuple[str, ...] = task.metrics or data.fitting_metrics
        self.validation = task.validation
        self.test = tuple(split for split in task.test if split in data.splits)
        self._data = data
        self._words = {
            split: [sentence.words for sentence in sentences] for split, sentences in data.splits.items()
        }
        self._tags = {
            split: [sentence.tags for sentence in sentences if sentence.tags is not None]
            for split, sentences in data.splits.items()
        }
        self.scored = tuple(split for split in (*self.validation, *self.test) if self._tags[split])
        self._usual = OUTSIDE if data.entities else most_frequent(chain(*self._tags["train"]))
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.padding_side = "right"  # on the left it would move the places of words
        made = {split: split_into_windows(tokenizer, words, length) for split, words in self._words.items()}
        if not made["train"].windows:
            raise UserError(f"task {task.name}: the tokenizer makes nothing of any word of train")
        self._windows = {split: split_windows.windows for split, split_windows in made.items()}
        self.features: Mapping[str, Features] = {
            "train": Features(self._labelled(), ("labels",), tokenizer)
        } | {
            split: Features([window.feature for window in self._windows[split]], (), tokenizer)
            for split in (*self.validation, *self.test)
        }
        self.notes = (*_describe(data), *describe_windows(list(made.values()), self._usual))

    def _labelled(self) -> list[Feature]:
        """The features of `train`, with the number of each word's tag at its first token."""
        numbers = {tag: number for number, tag in enumerate(self._data.labels)}
        rows: list[Feature] = []
        for window in self._windows["train"]:
            tags = self._tags["train"][window.sentence]
            labels = [NO_LABEL] * len(window.feature["input_ids"])
            for word, place in zip(window.words, window.places, strict=True):
                labels[place] = numbers[tags[word]]
            rows.append({**window.feature, "labels": labels})
        return rows

    def load(self, source: str, **changes: Any) -> PreTrainedModel:
        names = dict(enumerate(self._data.labels))
        return load_with_head(
            AutoModelForTokenClassification,
            source,
            num_labels=len(names),
            id2label=names,
            label2id={name: number for number, name in names.items()},
            **changes,
        )

    def decide(self, split: str, outputs: list[list[Any]]) -> list[list[str]]:
        predictions = [[self._usual] * len(words) for words in self._words[split]]
        for window, logits in zip(self._windows[split], outputs[0], strict=True):
            best = logits[list(window.places)].argmax(-1)  # logits (n, c), best (words,)
            for word, number in zip(window.words, best.tolist(), strict=True):
                predictions[window.sentence][word] = self._data.labels[number]
        return self._valid(predictions)

    def measure(self, split: str, predictions: list[list[str]]) -> dict[str, float]:
        measured = tag_metrics(predictions, self._tags[split], self._data.entities)
        return {name: measured[name] for name in self.metrics}

    def baselines(self) -> Mapping[str, Mapping[str, Any]]:
        scored = {split: self._words[split] for split in self.scored}
        predicted = tag_baselines(self._words["train"], self._tags["train"], scored)
        return {
            name: {split: self._valid(tags) for split, tags in splits.items()}
            for name, splits in predicted.items()
        }

    def constant(self, predictions: list[list[str]]) -> str | None:
        different = {tag for tags in predictions for tag in tags}
        return different.pop() if len(different) == 1 else None

    def write(self, folder: Path, split: str, predictions: list[list[str]]) -> None:
        columns = [self._words[split], *([self._tags[split]] if self._tags[split] else ()), predictions]
        sentences = (zip(*sentence, strict=True) for sentence in zip(*columns, strict=True))
        write_text(folder / f"{self.name}-{split}.conll", format_conll(sentences))

    def _valid(self, predictions: Sequence[Sequence[str]]) -> list[list[str]]:
        """Predictions in IOB2, if tags mark entities: a model may continue an entity without a start."""
        return [begin_with_b(tags) if self._data.entities else list(tags) for tags in predictions]


def _describe(data: TagData) -> list[str]:
    """Describes the tags."""
    kind, number = ("", "plain tag") if data.scheme == "plain" else (f" in {data.scheme.upper()}", "tag")
    converted = ", converted to IOB2" if data.scheme in ("iob1", "bioes") else ""
    sentences = counted(sum(map(len, data.splits.values())), "sentence")
    return [f"{sentences}, {counted(len(data.labels), number)}{kind}{converted}"]


def describe_windows(made: Sequence[Windows], usual: str) -> list[str]:
    """Remarks on unusual sentences, one per line.

    Args:
        made: The windows.
        usual: Tag of words without tokens.
    """
    long, cut, empty = (sum(getattr(windows, name) for windows in made) for name in ("long", "cut", "empty"))
    lines = {
        f"sentences longer than a window, read in several so that every word is predicted: {long:,}": long,
        f"words longer than a window, cut: {cut:,}": cut,
        f"words of which the tokenizer makes nothing, predicted as {usual}: {empty:,}": empty,
    }
    return [line for line, count in lines.items() if count]
