"""Measures models on minimal pairs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.minimal_pairs.data import Pair
from autobert_zero.minimal_pairs.models import make_predictor
from autobert_zero.minimal_pairs.results import Results, ScoredPair
from autobert_zero.minimal_pairs.scoring import OnSentence, pseudo_log_likelihoods
from autobert_zero.minimal_pairs.tokens import tokenise_sentences
from autobert_zero.nn import MaskedLM
from autobert_zero.training.precision import Precision

METHODS = {False: "PLL", True: "PLL-word-l2r"}
"""Names of the scores, by whether the later tokens of a word are masked along with each of its tokens."""


class NotFiniteError(UserError):
    """The log-probabilities of a model are not finite."""


class TokenisedPairs:
    """Tokenised minimal pairs, for any number of models with the same tokenizer.

    Args:
        pairs: The pairs.
        tokenizer: Tokenizer of the models.
        positions: Maximum number of tokens in a sequence; None: no limit.
        within_word: Whether to mask the later tokens of a word along with each of its tokens (PLL-word-l2r).

    Raises:
        UserError: The tokenizer cannot be used, or a sentence has no tokens or too many; the message names
            the file and the line.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        tokenizer: PreTrainedTokenizerBase,
        positions: int | None,
        within_word: bool = False,
    ) -> None:
        self.method = METHODS[within_word]
        self._pairs = pairs
        self._vocabulary = len(tokenizer)
        # Sentences repeat, since a good one may be paired with several bad ones.
        places: dict[str, str] = {}
        for pair in pairs:
            places.setdefault(pair.good, pair.place)
            places.setdefault(pair.bad, pair.place)
        self._index = {text: index for index, text in enumerate(places)}
        self._sentences = tokenise_sentences(list(places), list(places.values()), tokenizer, within_word)
        for sentence, place in zip(self._sentences, places.values(), strict=True):
            if positions is not None and len(sentence.ids) > positions:
                raise UserError(
                    f"{place}: a sentence has {len(sentence.ids)} tokens, more than the {positions} "
                    "positions of the model; leave the pair out"
                )
        self._mask: int = tokenizer.mask_token_id
        unknown = -1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id
        self._unknown = [
            int(((sentence.ids == unknown) & (sentence.words >= 0)).sum()) for sentence in self._sentences
        ]

    def measure(
        self,
        model: MaskedLM | PreTrainedModel,
        precision: Precision = "auto",
        watch: OnSentence = lambda done, total: None,
    ) -> Results:
        """Scores the pairs.

        Args:
            model: The model, on its device.
            precision: Number format of the encoder; head and log-probabilities are in float32.
            watch: Called with the number of masked sentences done and the total.

        Raises:
            NotFiniteError: The model's log-probabilities are not finite.
        """
        on_gpu = next(model.parameters()).device.type != "cpu"
        scores = pseudo_log_likelihoods(
            self._sentences, make_predictor(model, precision), self._mask, self._vocabulary, on_gpu, watch
        )
        if not np.isfinite(scores).all():
            raise NotFiniteError("the model's log-probabilities are not finite: its training diverged")
        occurrences = [self._index[text] for pair in self._pairs for text in (pair.good, pair.bad)]
        tokens = sum(int((self._sentences[index].words >= 0).sum()) for index in occurrences)
        return Results(
            self.method,
            tuple(self._scored_pair(pair, scores) for pair in self._pairs),
            sum(self._unknown[index] for index in occurrences) / tokens,
        )

    def _scored_pair(self, pair: Pair, scores: NDArray[np.float64]) -> ScoredPair:
        good, bad = self._index[pair.good], self._index[pair.bad]
        return ScoredPair(
            pair.paradigm,
            pair.phenomenon,
            pair.field,
            float(scores[good]),
            float(scores[bad]),
            identical=np.array_equal(self._sentences[good].ids, self._sentences[bad].ids),
            unknown=self._unknown[good] + self._unknown[bad] > 0,
        )
