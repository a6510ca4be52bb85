"""Tokenizers trained on a corpus, one function per kind, and the choice of a kind for a text.

Training is a function of the text: the same in every process.
"""

import json
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from autobert_zero.data.corpus import Corpus, Watch, unwatched
from autobert_zero.errors import UserError


class TokenizerError(UserError):
    """A tokenizer that cannot be trained, loaded or used."""


SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""BERT's special tokens; a trained tokenizer numbers them 0 to 4."""

_SMALLEST_BYTE_LEVEL = len(SPECIAL_TOKENS) + 256
_LONGEST_WORD = 100
"""Characters of a word that WordPiece looks at as a whole; it would give up on longer ones."""

_RARE_SHARE = 0.0005
"""Share of the characters of a text that may be left out of the alphabet (as SentencePiece does)."""

_UNKNOWN_SHARE = 0.001
"""Share of unknown words above which WordPiece is not chosen."""

_UNSPACED_SHARE = 0.1
"""Share of letters of scripts without spaces above which WordPiece is not chosen."""

_LONG_RUN = 30
"""Mean number of characters between spaces above which a text has no words."""

_SMALL_ALPHABET = 32
"""Characters of a text of symbols, such as nucleotides or amino acids."""

_UNSPACED = (
    *("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ", "YI "),
    *("JAVANESE ", "BALINESE ", "TAI ", "NEW TAI "),
)
"""How Unicode's names of the letters of scripts without spaces between words begin."""

_PIECES = (
    r" ?\p{L}[\p{L}\p{M}\x{200c}\x{200d}]*| ?\p{N}[\p{N}\p{M}]*"
    r"| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
"""What byte-level merges stay within: letters with their vowel signs and joiners, digits, or other signs,
each with the space before. (GPT-2's expression cuts words of Hindi and Thai at every vowel sign.)"""


@dataclass(frozen=True)
class Spelling:
    """How a tokenizer is to spell text.

    Attributes:
        kind: `wordpiece`, `bpe`, `unigram`, `character`, or `auto`.
        cased: Keep upper and lower case apart; None: only WordPiece folds case.
        strip_accents: Drop the accents of Latin, Greek and Cyrillic letters.
    """

    kind: str = "auto"
    cased: bool | None = None
    strip_accents: bool = False

    @property
    def folds_case(self) -> bool:
        """Whether text is lower-cased, for a kind that is chosen."""
        return self.kind == "wordpiece" if self.cased is None else not self.cased


@dataclass(frozen=True)
class Survey:
    """What a text is made of.

    Attributes:
        counts: How often each character occurs, after Unicode's canonical composition.
        paragraphs: Number of paragraphs.
    """

    counts: Mapping[str, int]
    paragraphs: int

    @cached_property
    def words(self) -> int:
        """Upper bound of the number of runs of characters without a space."""
        return self.paragraphs + sum(n for c, n in self.counts.items() if c.isspace())

    def through(self, normalizer: normalizers.Normalizer) -> dict[str, int]:
        """The counts of the characters that a normalizer makes of these, without spaces."""
        counts: dict[str, int] = {}
        for character, count in self.counts.items():
            for each in normalizer.normalize_str(character):
                if not each.isspace():
                    counts[each] = counts.get(each, 0) + count
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


def choose_kind(found: Survey, vocab_size: int, spelling: Spelling) -> tuple[str, str]:
    """The kind of tokenizer that suits a text, and why."""
    letters = {c: n for c, n in found.counts.items() if unicodedata.category(c)[0] in "LMN"}
    unspaced = sum(n for c, n in letters.items() if unicodedata.name(c, "").startswith(_UNSPACED))
    share = unspaced / max(sum(letters.values()), 1)
    shown = {c: n for c, n in found.counts.items() if not c.isspace()}
    run = sum(shown.values()) / max(found.words, 1)
    folded = {c.lower() for c in shown}
    if share <= _UNSPACED_SHARE and run > _LONG_RUN and len(folded) <= _SMALL_ALPHABET:
        return "character", f"{len(shown)} different characters, in runs of {run:.0f} without a space"
    reason = None
    if share > _UNSPACED_SHARE:
        reason = f"{share:.0%} of the letters are of scripts that put no spaces between words"
    elif run > _LONG_RUN:
        reason = f"a space only every {run:.0f} characters"
    else:
        rare = _alphabet(found.through(_wordpiece_normalizer(spelling)), vocab_size)[1]
        unknown = sum(rare.values()) / max(found.words, 1)
        if unknown > _UNKNOWN_SHARE:
            reason = (
                f"{len(rare):,} rare characters, in up to {unknown:.1%} of the words, do not fit "
                f"a WordPiece vocabulary of {vocab_size:,}"
            )
    if reason is None:
        return "wordpiece", f"words between spaces, {len(shown)} different characters"
    if vocab_size < _SMALLEST_BYTE_LEVEL:
        return (
            "wordpiece",
            f"{reason}, but a vocabulary of {vocab_size} is too small for the 256 bytes of BPE",
        )
    return "bpe", reason


def train_kind(
    corpus: Corpus, vocab_size: int, watch: Watch = unwatched, spelling: Spelling | None = None
) -> tuple[Tokenizer, str, str]:
    """Trains a tokenizer on a corpus.

    Args:
        corpus: The text.
        vocab_size: Maximum tokens, the five special ones among them.
        watch: Called with the progress.
        spelling: How; None: chosen for the text.

    Returns:
        The tokenizer, its kind, and why it is of this kind.

    Raises:
        TokenizerError: The vocabulary cannot hold what the kind needs.
    """
    spelling = spelling or Spelling()
    found, reason = survey(corpus), "as asked"
    if spelling.kind == "auto":
        kind, reason = choose_kind(found, vocab_size, spelling)
        spelling = replace(spelling, kind=kind)
    return _TRAINERS[spelling.kind](corpus, found, vocab_size, watch, spelling), spelling.kind, reason


def _wordpiece(corpus: Corpus, found: Survey, vocab_size: int, watch: Watch, spelling: Spelling) -> Tokenizer:
    """WordPiece with BERT's splitting at spaces, punctuation and ideographs.

    The library's own WordPiece trainer numbers `##` pieces in the order of a hash map, so it gives another
    vocabulary in every process. Its pair-merging (BPE) trainer is deterministic: words get a start mark
    that does not occur in the text, and afterwards a piece with the mark begins a word and a piece without
    continues one.
    """
    normalizer = _wordpiece_normalizer(spelling)
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.FixedLength(_LONGEST_WORD)]
    )
    counts = found.through(normalizer)
    alphabet, rare = _alphabet(counts, vocab_size)
    start = next(mark for mark in ("\u2581", *map(chr, range(0xE000, 0xF900))) if mark not in counts)
    merger = Tokenizer(models.BPE())
    merger.normalizer = normalizer
    merger.pre_tokenizer = pre_tokenizers.Sequence(
        [splitter, pre_tokenizers.Metaspace(start, "always", split=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        initial_alphabet=[*alphabet, start],
        limit_alphabet=len(alphabet) + 1,
    )
    merger.train_from_iterator(corpus.batches(watch), trainer, length=len(corpus.paragraphs))
    merged = sorted(merger.get_vocab().items(), key=lambda item: item[1])
    pieces = [piece[1:] if piece.startswith(start) else f"##{piece}" for piece, _ in merged]
    alone = {f"##{character}" for character in alphabet if _stands_alone(character)}
    pieces = [piece for piece in pieces if piece and piece not in alone]
    # Where few words leave room, characters that the alphabet has left out.
    rest = [form for character in rare for form in _forms(character)]
    ordered = dict.fromkeys((*SPECIAL_TOKENS, *sorted(alphabet), *pieces, *rest))
    vocabulary = {piece: index for index, piece in enumerate(list(ordered)[:vocab_size])}

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def _wordpiece_normalizer(spelling: Spelling) -> normalizers.Normalizer:
    """BERT's, but one that keeps accents, vowel signs and joiners."""
    invisible = normalizers.Replace(Regex(r"[\x{ad}\x{200b}\x{feff}]"), "")
    split = normalizers.BertNormalizer(
        clean_text=False, strip_accents=False, lowercase=replace(spelling, kind="wordpiece").folds_case
    )
    return normalizers.Sequence([invisible, *_composition(spelling), split])


def _composition(spelling: Spelling) -> list[normalizers.Normalizer]:
    """One spelling for what Unicode can spell in two ways, and accents dropped where asked for."""
    if not spelling.strip_accents:
        return [normalizers.NFC()]
    accents = Regex(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}])\p{Mn}+")
    return [normalizers.NFD(), normalizers.Replace(accents, ""), normalizers.NFC()]


def _alphabet(counts: Mapping[str, int], vocab_size: int) -> tuple[dict[str, int], dict[str, int]]:
    """The characters that a WordPiece vocabulary holds, most frequent first, and those that it leaves out.

    Those that take up to a quarter of the vocabulary are in. Beyond that it takes more than one occurrence
    in ten times as many characters as the vocabulary has tokens, until nearly all of the text is spelled.
    """
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    room, total = vocab_size - len(SPECIAL_TOKENS), sum(counts.values())
    left, taken, kept = total, 0, 0
    for character, count in ordered.items():
        taken += len(_forms(character))
        rare = left <= _RARE_SHARE * total or count * 10 * vocab_size < total
        if taken > room or (taken > vocab_size // 4 and rare):
            break
        left -= count
        kept += 1
    items = list(ordered.items())
    return dict(items[:kept]), dict(items[kept:])


def _forms(character: str) -> tuple[str, ...]:
    """A character as WordPiece spells it where it begins a word, and where it continues one."""
    return (character,) if _stands_alone(character) else (character, f"##{character}")


def _stands_alone(character: str) -> bool:
    """Whether BERT's splitting makes a word of this character wherever it is."""
    padded = _BERT_SPLITS.normalize_str(f"a{character}a")
    return len(_BERT_WORDS.pre_tokenize_str(padded)) > 1


_BERT_SPLITS = normalizers.BertNormalizer(clean_text=False, strip_accents=False, lowercase=False)
_BERT_WORDS = pre_tokenizers.BertPreTokenizer()


def _bpe(corpus: Corpus, found: Survey, vocab_size: int, watch: Watch, spelling: Spelling) -> Tokenizer:
    """Merges of bytes, which spell everything."""
    tokenizer = _byte_level(models.BPE(), vocab_size, spelling)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus.batches(watch), trainer, length=len(corpus.paragraphs))
    return _with_mask(tokenizer)


def _unigram(corpus: Corpus, found: Survey, vocab_size: int, watch: Watch, spelling: Spelling) -> Tokenizer:
    """A unigram language model over pieces of bytes, which spell everything.

    The library's trainer adds up in the order of a hash map: scores differ in their last digits from process
    to process. They are rounded and sorted, and the last tenth of the pieces, where ties decide, is cut.
    """
    tokenizer = _byte_level(models.Unigram(), vocab_size, spelling)
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size + vocab_size // 10,
        show_progress=False,
        special_tokens=["[UNK]"],
        unk_token="[UNK]",
    )
    tokenizer.train_from_iterator(corpus.batches(watch), trainer, length=len(corpus.paragraphs))
    scores = {piece: round(score, 4) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]}
    longer = {piece: score for piece, score in scores.items() if len(piece) > 1 and piece != "[UNK]"}
    least = min(longer.values(), default=0.0)
    # What is left of single bytes has scores in the order of a hash map, below all others.
    singles = sorted(pre_tokenizers.ByteLevel.alphabet())
    frequent = {piece: scores[piece] for piece in singles if scores.get(piece, least) > least}
    bottom = {
        piece: least - 1e-4 * number
        for number, piece in enumerate((piece for piece in singles if piece not in frequent), 1)
    }
    room = vocab_size - _SMALLEST_BYTE_LEVEL
    best = sorted(longer.items(), key=lambda item: (-item[1], item[0]))[:room]
    ordered = sorted((*best, *frequent.items(), *bottom.items()), key=lambda item: (-item[1], item[0]))
    special = [(token, 0.0) for token in SPECIAL_TOKENS]
    tokenizer.model = models.Unigram([*special, *ordered], SPECIAL_TOKENS.index("[UNK]"), False)
    return _with_mask(tokenizer)


def _byte_level(model: models.Model, vocab_size: int, spelling: Spelling) -> Tokenizer:
    if vocab_size < _SMALLEST_BYTE_LEVEL:
        raise TokenizerError(
            f"a vocabulary of {vocab_size} is too small for a tokenizer of kind {spelling.kind}: 256 bytes "
            f"and {len(SPECIAL_TOKENS)} special tokens need at least {_SMALLEST_BYTE_LEVEL}; raise vocab_size"
        )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = _plain_normalizer(spelling)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # Puts a space before the text, so that its first word is spelled as the same word elsewhere.
            pre_tokenizers.Metaspace(" ", "first", split=False),
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def _with_mask(tokenizer: Tokenizer) -> Tokenizer:
    """Adds the special tokens; `[MASK]` stands for a word with the space before it."""
    tokenizer.add_special_tokens(
        [AddedToken(token, lstrip=token == "[MASK]", special=True) for token in SPECIAL_TOKENS]
    )
    return tokenizer


def _plain_normalizer(spelling: Spelling) -> normalizers.Normalizer:
    lower = [normalizers.Lowercase()] if spelling.folds_case else []
    return normalizers.Sequence([*_composition(spelling), *lower])


def _character(corpus: Corpus, found: Survey, vocab_size: int, watch: Watch, spelling: Spelling) -> Tokenizer:
    """One token per character, spaces too; where not all fit, bytes for the rare ones."""
    normalizer = _plain_normalizer(spelling)
    counts: dict[str, int] = {}
    for character, count in found.counts.items():
        for each in normalizer.normalize_str(character):
            counts[each] = counts.get(each, 0) + count
    ordered = sorted(counts, key=lambda character: (-counts[character], character))
    room = vocab_size - len(SPECIAL_TOKENS)
    rare = len(ordered) > room
    extra = [f"<0x{byte:02X}>" for byte in range(256)] if rare and room > 256 else []
    tokens = [*SPECIAL_TOKENS, *extra, *ordered[: room - len(extra)]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="[UNK]", byte_fallback=bool(extra)))
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    watch(len(corpus.paragraphs), len(corpus.paragraphs))
    return tokenizer


_TRAINERS: dict[str, Callable[[Corpus, Survey, int, Watch, Spelling], Tokenizer]] = {
    "wordpiece": _wordpiece,
    "bpe": _bpe,
    "unigram": _unigram,
    "character": _character,
}
