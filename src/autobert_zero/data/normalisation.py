"""Normalisation of text before it is split into tokens, and counts of its characters."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tokenizers import Regex, normalizers

from autobert_zero.data.corpus import Corpus, unwatched
from autobert_zero.errors import UserError


class TokenizerError(UserError):
    """A tokenizer that cannot be trained, loaded or used."""


SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""BERT's special tokens; a trained tokenizer numbers them 0 to 4."""


@dataclass(frozen=True)
class Spelling:
    """Settings of a tokenizer's normalisation.

    Attributes:
        kind: `wordpiece`, `bpe`, `unigram`, `character`, or `auto`.
        cased: Whether to distinguish upper and lower case; None: all kinds do but WordPiece.
        strip_accents: Whether to drop the accents of Latin, Greek and Cyrillic letters.
    """

    kind: str = "auto"
    cased: bool | None = None
    strip_accents: bool = False

    @property
    def folds_case(self) -> bool:
        """Whether text is lower-cased; not for the kind `auto`."""
        return self.kind == "wordpiece" if self.cased is None else not self.cased


@dataclass(frozen=True)
class Survey:
    """The characters of a text.

    Attributes:
        counts: Number of occurrences of each character, after Unicode's canonical composition.
        paragraphs: Number of paragraphs.
    """

    counts: Mapping[str, int]
    paragraphs: int

    @cached_property
    def words(self) -> int:
        """Upper bound of the number of runs of characters without a space."""
        return self.paragraphs + sum(n for c, n in self.counts.items() if c.isspace())

    def through(self, normalizer: normalizers.Normalizer, spaces: bool = False) -> dict[str, int]:
        """The counts of the characters after a normalizer, with or without spaces."""
        counts: dict[str, int] = {}
        for character, count in self.counts.items():
            for normalised in normalizer.normalize_str(character):
                if spaces or not normalised.isspace():
                    counts[normalised] = counts.get(normalised, 0) + count
        return counts


def survey(corpus: Corpus) -> Survey:
    """Counts the characters of a corpus."""
    totals = np.zeros(0x110000, dtype=np.int64)
    paragraphs = 0
    for batch in corpus.batches(unwatched):
        paragraphs += sum(map(bool, batch))
        text = unicodedata.normalize("NFC", "".join(batch))
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        totals += np.bincount(codes, minlength=len(totals))
    return Survey({chr(code): int(totals[code]) for code in np.flatnonzero(totals)}, paragraphs)


def unicode_composition(spelling: Spelling) -> list[normalizers.Normalizer]:
    """Composes what Unicode can spell in two ways, and drops accents if asked for."""
    if not spelling.strip_accents:
        return [normalizers.NFC()]
    accents = Regex(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}])\p{Mn}+")
    return [normalizers.NFD(), normalizers.Replace(accents, ""), normalizers.NFC()]


def plain_normalizer(spelling: Spelling) -> normalizers.Normalizer:
    """Composes characters and lower-cases them if asked for."""
    lower = [normalizers.Lowercase()] if spelling.folds_case else []
    return normalizers.Sequence([*unicode_composition(spelling), *lower])
