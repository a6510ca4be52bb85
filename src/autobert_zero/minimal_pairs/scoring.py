"""Pseudo-log-likelihoods (Salazar et al. 2020): every token is masked in turn and predicted from the others.

Many masked sentences are equal: two sentences that differ in one word are the same once it is masked, and
sentences repeat. Each distinct one is computed once, for all tokens to be predicted from it.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from autobert_zero.minimal_pairs.models import Predictor
from autobert_zero.minimal_pairs.tokens import TokenisedSentence

_TOKENS = 4096
"""Number of tokens in a batch on a CPU: enough to fill its cores, few enough to fit its caches."""
_TOKENS_OF_GPU = 65536
_LOGITS = 2**25
"""Maximum number of logits in a batch, 128 MiB in float32."""

OnSentence = Callable[[int, int], None]
"""Called with the number of masked sentences done and the total."""


def pseudo_log_likelihoods(
    sentences: Sequence[TokenisedSentence],
    predict: Predictor,
    mask: int,
    vocabulary: int,
    on_gpu: bool = False,
    watch: OnSentence = lambda done, total: None,
) -> NDArray[np.float64]:
    """Sums the log-probabilities of each sentence's tokens, each predicted while it is masked.

    The later tokens of a word are masked along with each of its tokens (PLL-word-l2r, Kauf and Ivanova 2023);
    otherwise the last pieces of a rare word would give its first one away. If every token is a word of its
    own, this is the original score.

    The masked sentences of a batch have the same length, so nothing is padded.

    Args:
        sentences: The tokenised sentences; equal ones get equal scores.
        predict: The model.
        mask: Id of the mask token.
        vocabulary: Number of tokens in the model's vocabulary.
        on_gpu: Whether the model is on a GPU, which takes larger batches.
        watch: Called with the progress.

    Returns:
        (S,) natural logarithms.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, sentence in enumerate(sentences):
        by_length[len(sentence.ids)].append(index)
    # All are masked before the first is computed, so that the progress has a total.
    groups = [_MaskedSentences(sentences, indices, mask) for _, indices in sorted(by_length.items())]
    total, done = sum(len(masked.inputs) for masked in groups), 0
    scores = np.zeros(len(sentences))
    for masked in groups:
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
        indices: Indices of the sentences of this length.
        mask: Id of the mask token.
    """

    def __init__(self, sentences: Sequence[TokenisedSentence], indices: Sequence[int], mask: int) -> None:
        ids = np.stack([sentences[index].ids for index in indices]).astype(np.int32)  # (s, n)
        words = np.stack([sentences[index].words for index in indices])  # (s, n)
        rows, places = (words >= 0).nonzero()  # (t,): one per token that is scored
        later = np.arange(ids.shape[1]) >= places[:, None]  # (t, n)
        hidden = later & (words[rows] == words[rows, places][:, None])  # (t, n)
        masked = np.where(hidden, np.int32(mask), ids[rows])  # (t, n)
        keys = np.concatenate([masked, places[:, None].astype(np.int32)], axis=1)  # (t, n + 1)
        different, inverse = np.unique(keys, axis=0, return_inverse=True)  # (m, n + 1), (t,) or (t, 1)
        inverse = inverse.reshape(-1)  # (t,); NumPy 2.0 keeps the other axis
        order = np.argsort(inverse, kind="stable")
        self.inputs = different[:, :-1]
        self._places = different[:, -1]
        self._input_of = inverse[order]
        self._targets = ids[rows, places][order]
        self._sentences = np.array(indices)[rows][order]

    def log_probabilities(
        self, predict: Predictor, start: int, stop: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Computes a batch.

        Returns:
            For each token that is predicted from the batch: the index of its sentence, and its
            log-probability.
        """
        inputs = torch.from_numpy(self.inputs[start:stop]).long()  # (B, n)
        places = torch.from_numpy(self._places[start:stop]).long()  # (B,)
        logits = predict(inputs, torch.arange(len(inputs)) * inputs.shape[1] + places)  # (B, v)
        low, high = np.searchsorted(self._input_of, [start, stop])
        row = torch.from_numpy(self._input_of[low:high] - start).to(logits.device)  # (a,)
        target = torch.from_numpy(self._targets[low:high]).long().to(logits.device)  # (a,)
        log_probability = logits[row, target] - logits.logsumexp(1)[row]  # (a,)
        return self._sentences[low:high], log_probability.double().cpu().numpy()
