"""Schemes of tags: how the tags of words mark entities of several words.

In IOB2 the first word of an entity has the tag `B-TYPE`, its other words `I-TYPE`, and all other words `O`
(Tjong Kim Sang and Veenstra 1999). In IOB1 `B-TYPE` is used only where an entity follows another one of the
same type, and `I-TYPE` elsewhere. BIOES marks the last word of an entity with `E-TYPE` and an entity of one
word with `S-TYPE`; BILOU is the same with `L` and `U`. All are converted to IOB2.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, get_args

from autobert_zero.errors import UserError
from autobert_zero.finetune.tags.sentences import TaggedSentence

Scheme = Literal["iob1", "iob2", "bioes", "plain"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
"""`plain` tags, such as parts of speech, mark no entities and are kept as they are."""

OUTSIDE = "O"
"""The tag of a word outside all entities."""

_BILOU = {"L": "E", "U": "S"}
_PREFIXES = {"iob1": ("B", "I"), "iob2": ("B", "I"), "bioes": ("B", "I", "E", "S")}


def recognise(sentences: Sequence[TaggedSentence]) -> Scheme:
    """Recognises the scheme of the tags.

    Tags are plain if they mark no entities, see `mark_entities`. They are BIOES if some start with `E-`,
    `S-`, `L-` or `U-`; IOB1 if every entity starts with `I-` unless it follows one of its type; else IOB2.

    Args:
        sentences: Sentences of all splits; those without tags are ignored.
    """
    tags = {tag for sentence in sentences for tag in sentence.tags or ()}
    if not mark_entities(tags):
        return "plain"
    if _prefixes(tags) & {"E", "S", "L", "U"}:
        return "bioes"
    begins = {tag[0] for sentence in sentences for _, tag in _starts(sentence.tags or ())}
    return "iob1" if begins == {"I"} else "iob2"


def mark_entities(tags: Collection[str]) -> bool:
    """Whether any of the tags start with `B-` or `I-` or, if some are `O`, with `S-` or `U-`."""
    prefixes = _prefixes(tags)
    return bool(prefixes & {"B", "I"} or (OUTSIDE in tags and prefixes & {"S", "U"}))


def _prefixes(tags: Collection[str]) -> set[str]:
    return {tag[0] for tag in tags if tag[1:2] == "-"}


def convert(sentence: TaggedSentence, scheme: Scheme) -> Sequence[str] | None:
    """The tags of a sentence in IOB2, or unchanged if the scheme is plain; None without tags.

    Raises:
        UserError: A tag does not belong to the scheme; the message names its place.
    """
    tags = sentence.tags
    if tags is None or scheme == "plain":
        return tags
    known = _PREFIXES[scheme]
    for word, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if tag != OUTSIDE and not (kind and _BILOU.get(prefix, prefix) in known):
            forms = ", ".join(f"{form}-TYPE" for form in known)
            raise UserError(
                f"{sentence.place(word)}: the tag {tag!r} is none of {scheme.upper()}, which has O, {forms}; "
                "correct it, or write `scheme: plain` in a task file if the tags mark no entities"
            )
    if scheme == "bioes":
        return _from_bioes(sentence, tags)
    if scheme == "iob2":
        wrong = next(((word, tag) for word, tag in _starts(tags) if tag[0] == "I"), None)
        if wrong is not None:
            word, tag = wrong
            raise UserError(
                f"{sentence.place(word)}: {tag} without B{tag[1:]} before it, but other entities begin with "
                "B-, as IOB2 has it; correct it, or write `scheme: iob1` in a task file, which allows both"
            )
    return begin_with_b(tags)


def begin_with_b(tags: Sequence[str]) -> list[str]:
    """Converts IOB1 tags, or a model's predictions, to IOB2, in which every entity starts with `B-`.

    The entities are those that conlleval counts: `I-` starts one if no entity of its type precedes it.
    """
    converted = list(tags)
    for word, tag in _starts(tags):
        converted[word] = f"B{tag[1:]}"
    return converted


def convert_predicted(tags: Sequence[str]) -> list[str]:
    """Converts a model's tags of any scheme that marks entities to IOB2.

    Tags that mark no entity become `O`. The entities are those that conlleval counts: after the end of one,
    the next begins.
    """
    converted = []
    ended = False
    for tag in tags:
        prefix, _, kind = tag.partition("-")
        prefix = _BILOU.get(prefix, prefix)
        if kind and prefix in _PREFIXES["bioes"]:
            converted.append(f"{'B' if ended or prefix in ('B', 'S') else 'I'}-{kind}")
        else:
            converted.append(OUTSIDE)
        ended = prefix in ("E", "S")
    return begin_with_b(converted)


def _starts(tags: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The words, with their tags, whose entity type differs from that of the previous word."""
    before = OUTSIDE
    for word, tag in enumerate(tags):
        if tag != OUTSIDE and tag[1:] != before[1:]:
            yield word, tag
        before = tag


def _from_bioes(sentence: TaggedSentence, tags: Sequence[str]) -> list[str]:
    """Converts BIOES or BILOU tags to IOB2.

    Raises:
        UserError: An entity has no end, or a tag continues an entity where none is open.
    """
    rule = "; in BIOES an entity is S-TYPE alone, or B-TYPE, any I-TYPE, and E-TYPE"
    converted, open_type = [], ""
    for word, tag in enumerate((*tags, OUTSIDE)):
        prefix, _, kind = tag.partition("-")
        prefix = _BILOU.get(prefix, prefix)
        continues = prefix in ("I", "E")
        if open_type and not (continues and kind == open_type):
            raise UserError(
                f"{sentence.place(word - 1)}: {tags[word - 1]} leaves its entity without an end{rule}"
            )
        if continues and not open_type:
            raise UserError(f"{sentence.place(word)}: {tag} continues an entity, but none is open{rule}")
        converted.append(OUTSIDE if tag == OUTSIDE else f"{'I' if continues else 'B'}-{kind}")
        open_type = kind if prefix in ("B", "I") else ""
    return converted[:-1]
