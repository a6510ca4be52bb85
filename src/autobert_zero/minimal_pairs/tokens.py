"""Tokenises sentences, and finds the tokens to score and the word of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from autobert_zero.data.packing import continues_word, tokens_with_space
from autobert_zero.errors import UserError

_CHUNK = 4096
"""Number of sentences that are tokenised at once."""


@dataclass(frozen=True)
class TokenisedSentence:
    """A tokenised sentence of n tokens.

    Attributes:
        ids: (n,) token ids with the special tokens around them.
        words: (n,) index of each token's word; -1 at the special tokens, which are not scored. Every token is
            a word of its own if the words are not needed.
    """

    ids: NDArray[np.int64]
    words: NDArray[np.int64]


def tokenise_sentences(
    texts: Sequence[str], places: Sequence[str], tokenizer: PreTrainedTokenizerBase, within_word: bool
) -> list[TokenisedSentence]:
    """Tokenises sentences.

    Args:
        texts: The sentences.
        places: File and line of each, for messages.
        tokenizer: Tokenizer of the model.
        within_word: Whether the words are needed.

    Raises:
        UserError: The tokenizer has no mask token, or does not report which tokens form a word; or a sentence
            has no tokens, or holds the mask token itself.
    """
    if tokenizer.mask_token_id is None:
        raise UserError(f"the tokenizer of {tokenizer.name_or_path} has no mask token")
    if within_word and not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} does not report which tokens form a word: leave "
            "--within-word out"
        )
    starts = tokens_with_space(tokenizer.get_vocab())
    sentences = []
    for start in range(0, len(texts), _CHUNK):
        encoded = tokenizer(list(texts[start : start + _CHUNK]), return_special_tokens_mask=True)
        for index, (ids, special) in enumerate(
            zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)
        ):
            scored = ~np.array(special, dtype=bool)
            words = np.arange(len(ids))
            if within_word:
                begins = ~continues_word(ids, encoded.word_ids(index), starts)
                words = np.append(0, np.cumsum(begins))
            sentence = TokenisedSentence(np.array(ids), np.where(scored, words, -1))
            _check_sentence(sentence, texts[start + index], places[start + index], tokenizer.mask_token_id)
            sentences.append(sentence)
    return sentences


def _check_sentence(sentence: TokenisedSentence, text: str, place: str, mask: int) -> None:
    if not (sentence.words >= 0).any():
        raise UserError(f"{place}: the tokenizer leaves nothing of the sentence {text!r:.60}")
    if (sentence.ids == mask).any():
        raise UserError(f"{place}: the sentence {text!r:.60} holds the mask token itself")
