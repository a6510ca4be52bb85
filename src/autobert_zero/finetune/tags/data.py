"""The sentences of a task of tags, from local files or the Hub, checked before anything is trained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autobert_zero.data.folder import ending
from autobert_zero.data.tables import Example, check_unicode, read_json_lines
from autobert_zero.errors import UserError, counted
from autobert_zero.finetune.metrics import TAG_METRICS
from autobert_zero.finetune.splits import hub_split, naming_task, numbered, read_splits, split_file
from autobert_zero.finetune.tags.conll import read_conll
from autobert_zero.finetune.tags.schemes import OUTSIDE, Scheme, convert, recognise
from autobert_zero.finetune.tags.sentences import TaggedSentence
from autobert_zero.finetune.tags.task import TagTask

_STEMS = {"validation": ("dev", "valid")}
_ENDINGS = ("conll", "conllu", "conllup", "txt", "tsv", "bio", "iob", "iob2", "jsonl")
_WORDS = "tokens"
_TAGS = "ner_tags"
"""Columns on the Hub, and in .jsonl files, where the task names none."""


@dataclass(frozen=True)
class TagData:
    """The sentences of a task.

    Attributes:
        splits: Sentences by split. Tags of entities are in IOB2.
        scheme: The original scheme of the tags.
        labels: Tags that occur in `train`, in the order of their numbers.
    """

    splits: Mapping[str, Sequence[TaggedSentence]]
    scheme: Scheme
    labels: tuple[str, ...]

    @property
    def entities(self) -> bool:
        """Whether the tags mark entities."""
        return self.scheme != "plain"

    @property
    def fitting_metrics(self) -> tuple[str, ...]:
        """The metrics that fit the scheme."""
        return TAG_METRICS if self.entities else ("accuracy",)


def load_tags(task: TagTask, folder: Path | None) -> TagData:
    """Loads all splits of a task.

    Args:
        task: The task.
        folder: Folder with one file per split: `train.conll` and so on, or the benchmark's own files; None
            for the Hub.

    Returns:
        The splits `train`, those of `task.validation`, and the existing ones of `task.test`.

    Raises:
        UserError: A split is missing or empty, a line is broken, a tag does not belong to the scheme, there
            is nothing to learn or to evaluate, or a tag of a split that is scored does not occur in `train`.
    """
    with naming_task(task.name):
        return _load_tag_splits(task, folder)


def _load_tag_splits(task: TagTask, folder: Path | None) -> TagData:
    raw = {}
    read = read_splits(task.validation, task.test, lambda split: _read_tag_split(task, folder, split))
    for split, place, sentences in read:
        if not sentences:
            raise UserError(f"{place} has no sentences")
        raw[split] = sentences
    scheme = task.scheme or recognise([sentence for sentences in raw.values() for sentence in sentences])
    splits = {
        split: [replace(sentence, tags=convert(sentence, scheme)) for sentence in sentences]
        for split, sentences in raw.items()
    }
    data = TagData(splits, scheme, _sorted_tags(splits["train"]))
    _check_learnable(task, data)
    return data


def _sorted_tags(sentences: Iterable[TaggedSentence]) -> tuple[str, ...]:
    """The tags of sentences, sorted: `O` first, then by type, `B-` before `I-`."""
    tags = {tag for sentence in sentences for tag in sentence.tags or ()}
    return tuple(sorted(tags, key=lambda tag: (tag != OUTSIDE, tag.partition("-")[::-1])))


def _check_learnable(task: TagTask, data: TagData) -> None:
    """Checks that tags can be learned and evaluated, and that all evaluated tags occur in `train`."""
    train = data.splits["train"]
    if len(data.labels) < 2:
        raise UserError(
            f"every word of {train[0].source} has the tag {data.labels[0]}, which leaves nothing to "
            "learn; is tag_column right?"
        )
    fitting = data.fitting_metrics
    unfit = next((name for name in task.metrics if name not in fitting), None)
    if unfit is not None:
        raise UserError(f"{unfit} is a metric of entities, but the tags mark none; use accuracy")
    for split in filter(data.splits.get, (*task.validation, *task.test)):
        sentences = [sentence for sentence in data.splits[split] if sentence.tags is not None]
        occurring = {tag for sentence in sentences for tag in sentence.tags or ()}
        if data.entities and occurring == {OUTSIDE}:
            remedy = "; leave the tags out if they stand for hidden ones" if split in task.test else ""
            raise UserError(f"{sentences[0].source} has no entity: all its tags are {OUTSIDE}{remedy}")
        for sentence in sentences:
            for word, tag in enumerate(sentence.tags or ()):
                if tag not in data.labels:
                    raise UserError(
                        f"{sentence.place(word)}: the tag {tag!r} does not occur in train, so it "
                        f"cannot be learned; add sentences with it to train, or take it out of {split}"
                    )


def _read_tag_split(
    task: TagTask, folder: Path | None, split: str
) -> tuple[str, list[TaggedSentence] | None]:
    """The place of a split, and its sentences; None if there is no such split."""
    if folder is None:
        return _sentences_from_hub(task, split)
    stems = (split, *_STEMS.get(split, ()))
    names = [f"{stem}.{extension}" for stem in stems for extension in _ENDINGS]
    names += [task.files[split]] if split in task.files else []
    names += [path.name.removesuffix(".gz") for stem in stems for path in folder.glob(f"*-{stem}.conllu*")]
    path = split_file(folder, split, names)
    if path is None:
        return f"{folder / split}.conll (or .{', .'.join(_ENDINGS[1:])})", None
    tagged = split not in task.test
    if ending(path) == ".jsonl":
        examples = ((f"{path}, line {line}", example) for line, example in read_json_lines(path))
        return str(path), _tagged_sentences(task, examples, {}, tagged)
    return str(path), read_conll(path, task.token_column, task.tag_column, tagged)


def _sentences_from_hub(task: TagTask, split: str) -> tuple[str, list[TaggedSentence] | None]:
    if task.hub is None:
        raise UserError("it is not on the Hub: name the folder of its files with --data")
    dataset, configuration = task.hub
    place, loaded = hub_split(dataset, configuration or None, split)
    if loaded is None:
        return place, None
    return place, _tagged_sentences(task, numbered(place, loaded), loaded.features, split not in task.test)


def _tagged_sentences(
    task: TagTask, examples: Iterable[tuple[str, Example]], features: Mapping[str, Any], tagged: bool
) -> list[TaggedSentence]:
    """Sentences from examples with a list of words and a list of tags or of their numbers."""
    words_column = task.token_column if isinstance(task.token_column, str) else _WORDS
    tags_column = task.tag_column if isinstance(task.tag_column, str) else _TAGS
    names = _tag_names(features.get(tags_column))
    sentences = []
    for place, example in examples:
        words = _words_of(example, words_column, place)
        tags = None
        if tagged or not _are_tags_hidden(example.get(tags_column)):
            tags = _words_of(_with_tag_names(example, tags_column, names), tags_column, place)
            if len(tags) != len(words):
                counts = counted(len(words), "word"), counted(len(tags), "tag")
                raise UserError(f"{place}: {counts[0]} in {words_column!r}, but {counts[1]}")
        if words:
            sentences.append(TaggedSentence(words, tags, place))
    bare = [sentence.source for sentence in sentences if sentence.tags is None]
    if 0 < len(bare) < len(sentences):
        raise UserError(f"{bare[0]}: no tags; give every sentence of the split tags, or none")
    return sentences


def _tag_names(feature: Any) -> Sequence[str] | None:
    """The class names of a column of lists of classes, as `datasets` describes it."""
    names: Sequence[str] | None = getattr(getattr(feature, "feature", None), "names", None)
    return names


def _are_tags_hidden(tags: Any) -> bool:
    """Whether a test split has no tags, or -1 instead."""
    return not tags or (isinstance(tags, list) and set(map(str, tags)) == {"-1"})


def _with_tag_names(example: Example, column: str, names: Sequence[str] | None) -> Example:
    """The example with names instead of valid class numbers."""
    tags = example.get(column)
    if names is None or not isinstance(tags, list):
        return example
    return {
        **example,
        column: [names[tag] if type(tag) is int and 0 <= tag < len(names) else tag for tag in tags],
    }


def _words_of(example: Example, column: str, place: str) -> list[str]:
    """A column with a list of words that are not empty and have no tabs or line breaks.

    Raises:
        UserError: The column is missing, is not a list, or holds something else.
    """
    if column not in example:
        raise UserError(f"{place}: no column {column!r}; there are {', '.join(map(str, example)) or 'none'}")
    values = example[column]
    if not isinstance(values, list):
        raise UserError(f"{place}: {column!r} is not a list, but {values!r}")
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str) or not value.strip(" "):
            raise UserError(f"{place}, word {number}: {value!r} in {column!r} is not text")
        if set(value) & {"\t", "\n", "\r"}:
            raise UserError(f"{place}, word {number}: {value!r} in {column!r} has a tab or a line break")
        check_unicode(value, f"{place}, word {number}: {value!r} in {column!r}")
    return values
