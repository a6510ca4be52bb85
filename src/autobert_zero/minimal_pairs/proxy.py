"""Minimal pairs as the proxy of a search: a candidate's score is its accuracy, without fine-tuning."""

from pathlib import Path

from tokenizers import Tokenizer

from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.minimal_pairs.data import read_pairs, subset
from autobert_zero.minimal_pairs.measure import NotFiniteError, TokenisedPairs
from autobert_zero.nn import MaskedLM
from autobert_zero.training.loop import Diverged
from autobert_zero.training.precision import Precision


class PairScores:
    """Measures models on the same minimal pairs, which are read once.

    Args:
        data: A file of pairs, or a folder of such files.
        limit: Maximum number of pairs, spread evenly over the paradigms.
        tokenizer: Tokenizer of the search.
        positions: Maximum number of tokens in a sequence; None: no limit.
        within_word: Whether to mask the later tokens of a word along with each of its tokens.
        precision: Number format of the encoders.

    Raises:
        UserError: The data cannot be used.
    """

    def __init__(
        self,
        data: Path,
        limit: int,
        tokenizer: Tokenizer,
        positions: int | None,
        within_word: bool,
        precision: Precision,
    ) -> None:
        pairs = subset(read_pairs([data]), limit)
        self._pairs = TokenisedPairs(pairs, wrap_tokenizer(tokenizer, positions), positions, within_word)
        self._precision = precision

    def __call__(self, model: MaskedLM, seed: int) -> dict[str, float]:
        """Measures the accuracy over all pairs; the seed has no effect.

        Raises:
            Diverged: The model's log-probabilities are not finite.
        """
        try:
            results = self._pairs.measure(model, self._precision)
        except NotFiniteError as error:
            raise Diverged(str(error)) from None
        return {"minimal_pairs": results.overall.share}
