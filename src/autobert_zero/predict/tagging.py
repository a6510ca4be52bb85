"""Predicts tags of words, such as parts of speech, and the entities that they mark."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split
from torch import Tensor
from transformers import AutoModelForTokenClassification

from autobert_zero.data.scripts import MARKS, SPACED, UNSPACED
from autobert_zero.finetune.features import Features
from autobert_zero.finetune.models import Pretrained
from autobert_zero.finetune.tags.schemes import OUTSIDE, begin_with_b, convert_predicted, mark_entities
from autobert_zero.finetune.tags.windows import split_into_windows
from autobert_zero.predict.head import Head, Record, Runner, class_names, max_length
from autobert_zero.predict.read import Row, TaskColumns

_LENGTH = 512
"""Number of tokens in a window for models without a limit."""

_DASHES = r"\x{2012}-\x{2015}\x{2E3A}\x{2E3B}"

_CJK_PUNCTUATION = (
    r"[\p{InCJK_Symbols_and_Punctuation}\p{InKatakana}\p{InVertical_Forms}\p{InCJK_Compatibility_Forms}"
    r"\p{InSmall_Form_Variants}\p{InHalfwidth_and_Fullwidth_Forms}&&[\p{P}\p{S}]&&[^＇．－]]"
)
"""Without the wide apostrophe, full stop and hyphen, which stand inside words like the narrow ones."""

_INSIDE = rf"[^\s{_DASHES}{_CJK_PUNCTUATION}{UNSPACED}]"

_WORD = Split(
    Regex(rf"(?:(?:{SPACED}\.){{2,}}(?!{SPACED})|[@#]?{SPACED}(?:{_INSIDE}*{SPACED})?|\S)[{MARKS}\p{{Cf}}]*"),
    "removed",
    invert=True,
)
"""Finds abbreviations such as U.S., words without the punctuation around them, characters of scripts without
spaces, and punctuation marks, each with the signs that belong to it."""


class TagHead(Head):
    """Predicts the tag of each word of a text, and the entities.

    A text is split into words at spaces, and punctuation around them is split off; in scripts without spaces
    each character is a word. A list of words is used unchanged. Long texts are read in windows, as in
    fine-tuning.
    """

    auto = AutoModelForTokenClassification
    task_columns = TaskColumns(defaults=(("tokens",), ("words",)), words=True, shown=0)

    def __init__(self, model: Pretrained) -> None:
        self._tokenizer = copy.deepcopy(model.tokenizer)
        self._tokenizer.padding_side = "right"  # padding on the left would shift the words
        self._length = max_length(model) or _LENGTH
        self._names = class_names(model)
        self._entities = mark_entities(self._names)
        self._iob = all(name == OUTSIDE or name.startswith(("B-", "I-")) for name in self._names)
        self.about = f"tags {', '.join(self._names)}"

    def predict(self, rows: Sequence[Row], runner: Runner) -> tuple[list[Record], int]:
        split = [split_words(row.cells[0]) for row in rows]
        windows = split_into_windows(
            self._tokenizer, [[word for word, _ in words] for words in split], self._length
        )
        features = Features([window.feature for window in windows.windows], (), self._tokenizer)
        tags: list[list[str | None]] = [[None] * len(words) for words in split]
        for window, numbers in zip(windows.windows, runner(features, self._best), strict=True):
            for word, place in zip(window.words, window.places, strict=True):
                tags[window.sentence][word] = self._names[numbers[place]]
        records = [
            self._record(row.cells[0], words, word_tags)
            for row, words, word_tags in zip(rows, split, tags, strict=True)
        ]
        return records, 0

    def empty_record(self, row: Row) -> Record:
        return self._record(row.cells[0], [], [])

    def flatten(self, record: Record) -> dict[str, Any]:
        return {
            "words": _as_cell(record["words"]),
            "tags": _as_cell([tag or OUTSIDE for tag in record["tags"]]),
            "entities": "|".join(f"{entity['type']}: {entity['text']}" for entity in record["entities"]),
        }

    def _best(self, output: Any, inputs: Mapping[str, Tensor]) -> Sequence[Any]:
        return list(torch.argmax(output.logits, -1).cpu().numpy())  # (n,) each

    def _record(
        self, cell: str | list[str], words: Sequence[tuple[str, int]], tags: Sequence[str | None]
    ) -> Record:
        text = cell if isinstance(cell, str) else " ".join(cell)
        if self._iob:  # a model may continue an entity without a start
            whole = begin_with_b([tag or OUTSIDE for tag in tags])
            tags = [tag and begun for tag, begun in zip(tags, whole, strict=True)]
        return {
            "text": text,
            "words": [word for word, _ in words],
            "tags": list(tags),
            "entities": _entities(text, words, [tag or OUTSIDE for tag in tags]) if self._entities else [],
        }


def _as_cell(items: Sequence[str]) -> str:
    """Joins items by spaces, or writes a JSON list where one has a space itself, so that they stay apart."""
    if all(item.split() == [item] for item in items):
        return " ".join(items)
    return json.dumps(items, ensure_ascii=False)


def split_words(cell: str | list[str]) -> list[tuple[str, int]]:
    """The words with the indices of their first characters, in a text or in a list joined by spaces."""
    if isinstance(cell, str):
        return [(word, start) for word, (start, _) in _WORD.pre_tokenize_str(cell)]
    words: list[tuple[str, int]] = []
    start = 0
    for word in cell:
        words.append((word, start))
        start += len(word) + 1
    return words


def _entities(text: str, words: Sequence[tuple[str, int]], tags: Sequence[str]) -> list[Record]:
    """The entities that tags of any scheme mark, by the rules of conlleval."""
    entities: list[Record] = []
    for (word, start), tag in zip(words, convert_predicted(tags), strict=True):
        end = start + len(word)
        if tag.startswith("B-"):
            entities.append({"type": tag[2:], "text": "", "start": start, "end": end})
        elif tag.startswith("I-"):
            entities[-1]["end"] = end
    return [{**entity, "text": text[entity["start"] : entity["end"]]} for entity in entities]
