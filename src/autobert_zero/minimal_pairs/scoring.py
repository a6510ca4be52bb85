"""Pseudo-log-likelihoods (Salazar et al. 2020): every token is masked in turn and predicted from the others.

Many of the masked sentences are equal: the two sentences of a pair that differ in one word are the same
where that word is masked, and sentences repeat. Each is computed once, for all tokens that are asked of it.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from autobert_zero.minimal_pairs.models import Predictor
from autobert_zero.minimal_pairs.tokens import TokenisedSentence

_TOKENS = 4096
"""Tokens in a batch on a CPU: enough to fill its cores, few enough to stay in its caches."""
_TOKENS_OF_GPU = 65536
_LOGITS = 2**25
"""Maximum number of logits in a batch, 128 MiB in float32."""

OnSentence = Callable[[int, int], None]
"""Called with the masked sentences done and the total."""


def pseudo_log_likelihoods(
    sentences: Sequence[TokenisedSentence],
    predict: Predictor,
    mask: int,
    vocabulary: int,
    on_gpu: bool = False,
    watch: OnSentence = lambda done, total: None,
) -> NDArray[np.float64]:
    """Sums the log-probabilities of each sentence's tokens, each predicted where it is masked.

    Together with a token, the later tokens of its word are masked (PLL-word-l2r, Kauf and Ivanova 2023): a
    rare word of several pieces is otherwise given away by its own other pieces. Where every token is a word
    of its own this is the original score.

    Batches hold masked sentences of one length, so that nothing is padded.

    Args:
        sentences: The tokenised sentences; equal ones get equal scores.
        predict: The model.
        mask: Id of the mask token.
        vocabulary: Number of tokens in the model's vocabulary.
        on_gpu: Whether batches are large.
        watch: Called with the progress.

    Returns:
        (S,) natural logarithms.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, sentence in enumerate(sentences):
        by_length[len(sentence.ids)].append(number)
    # All are laid out before the first is computed, so that the progress has a total.
    lengths = [_MaskedSentences(sentences, numbers, mask) for _, numbers in sorted(by_length.items())]
    total, done = sum(len(each.inputs) for each in lengths), 0
    scores = np.zeros(len(sentences))
    for masked in lengths:
        tokens = masked.inputs.shape[1]
        size = max(1, min((_TOKENS_OF_GPU if on_gpu else _TOKENS) // tokens, _LOGITS // vocabulary))
        for start in range(0, len(masked.inputs), size):
            np.add.at(scores, *masked.log_probabilities(predict, start, start + size))
            done += min(size, len(masked.inputs) - start)
            watch(done, total)
    return scores


class _MaskedSentences:
    """The distinct masked sentences of one length n, and the tokens to predict in each.

    Attributes:
        inputs: (m, n) ids with masks.

    Args:
        sentences: All sentences.
        numbers: Numbers of the sentences of this length.
        mask: Id of the mask token.
    """

    def __init__(self, sentences: Sequence[TokenisedSentence], numbers: Sequence[int], mask: int) -> None:
        ids = np.stack([sentences[number].ids for number in numbers]).astype(np.int32)  # (s, n)
        words = np.stack([sentences[number].words for number in numbers])  # (s, n)
        rows, places = (words >= 0).nonzero()  # (t,): one for each token that is scored
        later = np.arange(ids.shape[1]) >= places[:, None]  # (t, n)
        hidden = later & (words[rows] == words[rows, places][:, None])  # (t, n)
        masked = np.where(hidden, np.int32(mask), ids[rows])  # (t, n)
        keys = np.concatenate([masked, places[:, None].astype(np.int32)], axis=1)  # (t, n + 1)
        different, inverse = np.unique(keys, axis=0, return_inverse=True)  # (m, n + 1), (t,) or (t, 1)
        inverse = inverse.reshape(-1)  # (t,); NumPy 2.0 keeps the other axis
        order = np.argsort(inverse, kind="stable")
        self.inputs = different[:, :-1]
        self._places = different[:, -1]
        self._asked_of = inverse[order]
        self._targets = ids[rows, places][order]
        self._sentences = np.array(numbers)[rows][order]

    def log_probabilities(
        self, predict: Predictor, start: int, stop: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Computes a batch.

        Returns:
            For each token that is asked of it: the number of its sentence, and its log-probability.
        """
        inputs = torch.from_numpy(self.inputs[start:stop]).long()  # (B, n)
        places = torch.from_numpy(self._places[start:stop]).long()  # (B,)
        logits = predict(inputs, torch.arange(len(inputs)) * inputs.shape[1] + places)  # (B, v)
        low, high = np.searchsorted(self._asked_of, [start, stop])
        row = torch.from_numpy(self._asked_of[low:high] - start).to(logits.device)  # (a,)
        target = torch.from_numpy(self._targets[low:high]).long().to(logits.device)  # (a,)
        log_probability = logits[row, target] - logits.logsumexp(1)[row]  # (a,)
        return self._sentences[low:high], log_probability.double().cpu().numpy()
