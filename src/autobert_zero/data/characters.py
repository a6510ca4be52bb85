"""Builds tokenizers with one token per character."""

from tokenizers import Tokenizer, decoders, models

from autobert_zero.data.corpus import Corpus, Watch
from autobert_zero.data.normalisation import SPECIAL_TOKENS, Spelling, Survey, plain_normalizer


def train_characters(
    corpus: Corpus, surveyed: Survey, vocab_size: int, watch: Watch, spelling: Spelling
) -> Tokenizer:
    """One token per character, spaces included; if not all fit, rare ones are spelled as bytes."""
    normalizer = plain_normalizer(spelling)
    counts = surveyed.through(normalizer, spaces=True)
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
