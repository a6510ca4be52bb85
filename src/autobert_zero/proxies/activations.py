"""Proxies that look at what passes through the encoder, not at the gradients of its weights."""

from statistics import fmean

import torch
from torch import Tensor, nn

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.encoder import run_layers
from autobert_zero.nn.layer import FeedForward
from autobert_zero.proxies.baselines import parameter_count
from autobert_zero.proxies.copies import on_a_copy

_SHARE = 0.99
"""Share of the variance that the counted components hold."""

_EPSILON = 1e-5


@on_a_copy
def jacov(model: MaskedLM, batch: MaskedBatch) -> float:
    """How differently the encoder responds to different sequences (Mellor et al. 2021).

    A row of the Jacobian is the gradient of a fixed random projection of a sequence's hidden states with
    respect to its embeddings. With v the eigenvalues of the rows' correlation matrix (B, B), the value is
    -sum(log(v + e) + 1 / (v + e)): higher where the rows are less alike. The projection is random since
    the gradient of a plain sum through the last layer norm is zero but for rounding.
    """
    encoder = model.encoder
    embedded = encoder.embeddings(batch.ids.to(_device(model)), batch.segments).detach().requires_grad_()
    x = run_layers(encoder.layers, embedded)  # (B, n, d)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(x.shape[-1], generator=generator, dtype=x.dtype).to(x.device)  # (d,)
    (rows,) = torch.autograd.grad((x @ direction).sum(), embedded)
    correlation = torch.corrcoef(rows.flatten(1))  # (B, B)
    eigenvalues = torch.linalg.eigvalsh(correlation).clamp_min(0) + _EPSILON
    return -(eigenvalues.log() + 1 / eigenvalues).sum().item()


@on_a_copy
@torch.no_grad()
def w_pca(model: MaskedLM, batch: MaskedBatch) -> float:
    """Mean number of principal components of the layers, times the number of weights (W-PCA).

    Counted are the components that hold 99 % of the variance over the tokens of what enters the activation
    function of a layer's feed-forward block. One forward pass.
    """
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(_components(output.flatten(0, -2)))  # (B * n, inner)

    for part in model.modules():
        if isinstance(part, FeedForward):
            part.up.register_forward_hook(count)
    model.encoder(batch.ids.to(_device(model)), None, batch.segments)
    return fmean(counts) * parameter_count(model, batch)


def _components(points: Tensor) -> int:
    """Number of principal components of (N, c) points that hold 99 % of their variance."""
    centred = points - points.mean(0)
    rows, columns = centred.shape
    # Both products have the same eigenvalues but for zeros.
    scatter = centred.T @ centred if columns <= rows else centred @ centred.T
    held = torch.linalg.eigvalsh(scatter).flip(0).cumsum(0)  # the largest first
    return int((held < _SHARE * held[-1]).sum()) + 1


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
