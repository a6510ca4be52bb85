"""Token uniformity: how alike the tokens of a sequence become from layer to layer."""

import torch
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.nn import MaskedLM
from autobert_zero.nn.encoder import run_layers


@torch.no_grad()
def token_uniformity(model: MaskedLM, ids: Tensor) -> list[float]:
    """Measures the mean cosine similarity of the states of two tokens of a sequence (paper, analysis).

    High is bad: near 1 the tokens cannot be distinguished.

    Args:
        model: Any model.
        ids: (B, n) token ids without padding, n at least 2.

    Returns:
        One figure for the embeddings and one per layer, each in [-1, 1]: the mean over all pairs of different
        positions and all sequences.
    """
    model.eval()
    encoder = model.encoder
    x = encoder.embeddings(ids.to(next(model.parameters()).device))  # (B, n, d)
    states = [x]
    run_layers(encoder.layers, x, states=states)
    return [_mean_cosine(state) for state in states]


def _mean_cosine(x: Tensor) -> float:
    """(B, n, d) -> the mean over pairs: the norm of the sum of unit vectors holds the sum of all cosines."""
    n = x.shape[1]
    summed = F.normalize(x.float(), dim=-1).sum(1)  # (B, d)
    return ((summed.square().sum(-1) - n) / (n * (n - 1))).mean().item()
