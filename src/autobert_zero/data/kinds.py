"""The kinds of tokenizers: which one suits a text, and how each is trained on a corpus.

The result is a function of the text, the same in every process.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import replace

from tokenizers import Regex, Tokenizer, normalizers

from autobert_zero.data.byte_level import SMALLEST_BYTE_LEVEL, train_bpe, train_unigram
from autobert_zero.data.characters import train_characters
from autobert_zero.data.corpus import Corpus, Watch, unwatched
from autobert_zero.data.normalisation import Spelling, Survey, survey
from autobert_zero.data.scripts import UNSPACED
from autobert_zero.data.wordpiece import choose_alphabet, train_wordpiece, wordpiece_normalizer

_UNKNOWN_SHARE = 0.001
"""Share of unknown words above which WordPiece is not chosen."""

_UNSPACED_SHARE = 0.1
"""Share of letters of scripts without spaces above which WordPiece is not chosen."""

_LONG_RUN = 30
"""Mean number of characters between spaces above which a text has no words."""

_SMALL_ALPHABET = 32
"""Maximum number of different characters in a text of symbols, such as nucleotides or amino acids."""

_ONLY_UNSPACED = normalizers.Replace(Regex(f"[^{UNSPACED}]"), "")


def choose_kind(surveyed: Survey, vocab_size: int, spelling: Spelling) -> tuple[str, str]:
    """The kind of tokenizer that suits a text, and why."""
    letters = sum(n for c, n in surveyed.counts.items() if unicodedata.category(c)[0] in "LMN")
    share = sum(surveyed.through(_ONLY_UNSPACED).values()) / max(letters, 1)
    shown = {c: n for c, n in surveyed.counts.items() if not c.isspace()}
    run = sum(shown.values()) / max(surveyed.words, 1)
    folded = {c.lower() for c in shown}
    if share <= _UNSPACED_SHARE and run > _LONG_RUN and len(folded) <= _SMALL_ALPHABET:
        return "character", f"{len(shown)} different characters, in runs of {run:.0f} without a space"
    reason = None
    if share > _UNSPACED_SHARE:
        reason = f"{share:.0%} of the letters are of scripts that put no spaces between words"
    elif run > _LONG_RUN:
        reason = f"a space only every {run:.0f} characters"
    else:
        rare = choose_alphabet(surveyed.through(wordpiece_normalizer(spelling)), vocab_size)[1]
        unknown = sum(rare.values()) / max(surveyed.words, 1)
        if unknown > _UNKNOWN_SHARE:
            reason = (
                f"{len(rare):,} rare characters, in up to {unknown:.1%} of the words, do not fit "
                f"a WordPiece vocabulary of {vocab_size:,}"
            )
    if reason is None:
        return "wordpiece", f"words between spaces, {len(shown)} different characters"
    if vocab_size < SMALLEST_BYTE_LEVEL:
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
        vocab_size: Maximum number of tokens, including the five special ones.
        watch: Called with the progress.
        spelling: How to spell text; None chooses the kind for the text.

    Returns:
        The tokenizer, its kind, and the reason for the kind.

    Raises:
        TokenizerError: The vocabulary is too small for the kind.
    """
    spelling = spelling or Spelling()
    surveyed, reason = survey(corpus), "as asked"
    if spelling.kind == "auto":
        kind, reason = choose_kind(surveyed, vocab_size, spelling)
        spelling = replace(spelling, kind=kind)
    tokenizer = _TRAINERS[spelling.kind](corpus, surveyed, vocab_size, watch, spelling)
    return tokenizer, spelling.kind, reason


_TRAINERS: dict[str, Callable[[Corpus, Survey, int, Watch, Spelling], Tokenizer]] = {
    "wordpiece": train_wordpiece,
    "bpe": train_bpe,
    "unigram": train_unigram,
    "character": train_characters,
}
