"""Trains WordPiece tokenizers with BERT's splitting of text."""

from collections.abc import Mapping
from dataclasses import replace

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from autobert_zero.data.corpus import Corpus, Watch
from autobert_zero.data.normalisation import SPECIAL_TOKENS, Spelling, Survey, unicode_composition

_LONGEST_WORD = 100
"""Maximum characters of a word; longer ones are split, since WordPiece would give up on them."""

_RARE_SHARE = 0.0005
"""Share of the characters of a text that may be left out of the alphabet (as in SentencePiece)."""


def train_wordpiece(
    corpus: Corpus, surveyed: Survey, vocab_size: int, watch: Watch, spelling: Spelling
) -> Tokenizer:
    """WordPiece with BERT's splitting at spaces, punctuation and ideographs.

    The library's WordPiece trainer numbers `##` pieces in the order of a hash map, so that the vocabulary
    differs between processes. Its BPE trainer is deterministic: words get a start mark that does not occur in
    the text; then a piece with the mark begins a word, and a piece without it continues one.
    """
    normalizer = wordpiece_normalizer(spelling)
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.FixedLength(_LONGEST_WORD)]
    )
    counts = surveyed.through(normalizer)
    alphabet, rare = choose_alphabet(counts, vocab_size)
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
    # If few words leave room, add characters that the alphabet left out.
    rest = [form for character in rare for form in _forms(character)]
    ordered = dict.fromkeys((*SPECIAL_TOKENS, *sorted(alphabet), *pieces, *rest))
    vocabulary = {piece: index for index, piece in enumerate(list(ordered)[:vocab_size])}

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def wordpiece_normalizer(spelling: Spelling) -> normalizers.Normalizer:
    """BERT's normalizer, except that accents, vowel signs and joiners are kept."""
    invisible = normalizers.Replace(Regex(r"[\x{ad}\x{200b}\x{feff}]"), "")
    split = normalizers.BertNormalizer(
        clean_text=False, strip_accents=False, lowercase=replace(spelling, kind="wordpiece").folds_case
    )
    return normalizers.Sequence([invisible, *unicode_composition(spelling), split])


def choose_alphabet(counts: Mapping[str, int], vocab_size: int) -> tuple[dict[str, int], dict[str, int]]:
    """The characters of a WordPiece vocabulary, most frequent first, and those that it leaves out.

    The most frequent ones fill up to a quarter of the vocabulary. Beyond that, a character has to occur more
    than once in ten times the size of the vocabulary, until nearly all of the text can be spelled.
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
    """A character as WordPiece spells it at the start of a word, and inside one."""
    return (character,) if _stands_alone(character) else (character, f"##{character}")


def _stands_alone(character: str) -> bool:
    """Whether BERT's splitting always makes a word of this character."""
    padded = _BERT_SPLITS.normalize_str(f"a{character}a")
    return len(_BERT_WORDS.pre_tokenize_str(padded)) > 1


_BERT_SPLITS = normalizers.BertNormalizer(clean_text=False, strip_accents=False, lowercase=False)

_BERT_WORDS = pre_tokenizers.BertPreTokenizer()
