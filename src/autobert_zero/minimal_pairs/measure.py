"""Measures models on minimal pairs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autobert_zero.errors import UserError
from autobert_zero.minimal_pairs.data import Pair
from autobert_zero.minimal_pairs.models import predictor
from autobert_zero.minimal_pairs.results import Judged, Results
from autobert_zero.minimal_pairs.scoring import OnSentence, pseudo_log_likelihoods
from autobert_zero.minimal_pairs.tokens import tokenise_sentences
from autobert_zero.nn import MaskedLM
from autobert_zero.training.precision import Precision

METHODS = {False: "PLL", True: "PLL-word-l2r"}
"""Names of the score, by whether the later tokens of a word are masked with each of its tokens."""


class NotFiniteError(UserError):
    """A model whose log-probabilities are not numbers."""


class TokenisedPairs:
    """Minimal pairs as tokens, for any number of models with one tokenizer.

    Args:
        pairs: The pairs.
        tokenizer: Tokenizer of the models.
        positions: Maximum number of tokens in a sequence; None: no limit.
        within_word: Whether to mask the later tokens of a word with each of its tokens (PLL-word-l2r).

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
        # Sentences repeat: good ones stand beside several bad ones.
        places: dict[str, str] = {}
        for pair in pairs:
            places.setdefault(pair.good, pair.place)
            places.setdefault(pair.bad, pair.place)
        self._number = {text: number for number, text in enumerate(places)}
        self._sentences = tokenise_sentences(list(places), list(places.values()), tokenizer, within_word)
        for sentence, place in zip(self._sentences, places.values(), strict=True):
            if positions is not None and len(sentence.ids) > positions:
                raise UserError(
                    f"{place}: a sentence has {len(sentence.ids)} tokens, more than the {positions} "
                    "positions of the model; leave the pair out"
                )
        self._mask: int = tokenizer.mask_token_id
        unknown = -1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id
        self._unknown = [int(((each.ids == unknown) & (each.words >= 0)).sum()) for each in self._sentences]

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
            NotFiniteError: The model's log-probabilities are not numbers.
        """
        on_gpu = next(model.parameters()).device.type != "cpu"
        scores = pseudo_log_likelihoods(
            self._sentences, predictor(model, precision), self._mask, self._vocabulary, on_gpu, watch
        )
        if not np.isfinite(scores).all():
            raise NotFiniteError("the model's log-probabilities are not numbers: its training diverged")
        occurrences = [self._number[text] for pair in self._pairs for text in (pair.good, pair.bad)]
        tokens = sum(int((self._sentences[number].words >= 0).sum()) for number in occurrences)
        return Results(
            self.method,
            tuple(self._judged(pair, scores) for pair in self._pairs),
            sum(self._unknown[number] for number in occurrences) / tokens,
        )

    def _judged(self, pair: Pair, scores: NDArray[np.float64]) -> Judged:
        good, bad = self._number[pair.good], self._number[pair.bad]
        return Judged(
            pair.paradigm,
            pair.phenomenon,
            pair.field,
            float(scores[good]),
            float(scores[bad]),
            identical=np.array_equal(self._sentences[good].ids, self._sentences[bad].ids),
            unknown=self._unknown[good] + self._unknown[bad] > 0,
        )
