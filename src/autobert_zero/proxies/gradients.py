"""Proxies that differentiate once with respect to the weights.

The weights that count are the matrices of linear layers: embeddings, norms, biases and the logits of
convolution kernels are left out.
"""

import torch
from torch import Tensor, nn

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.encoder import run_layers
from autobert_zero.proxies.copies import on_a_copy
from autobert_zero.training.language import language_objective


@on_a_copy
def grad_norm(model: MaskedLM, batch: MaskedBatch) -> float:
    """Sum over the matrices of the Euclidean norm of the loss's gradient (Abdelfattah et al. 2021)."""
    return sum(gradient.norm().item() for gradient in _gradients(model, batch))


@on_a_copy
def snip(model: MaskedLM, batch: MaskedBatch) -> float:
    """Sum over the weights of |weight * gradient of the loss| (SNIP, Lee et al. 2019)."""
    pairs = zip(_matrices(model), _gradients(model, batch), strict=True)
    return sum((matrix * gradient).abs().sum().item() for matrix, gradient in pairs)


@on_a_copy
def synflow(model: MaskedLM, batch: MaskedBatch) -> float:
    """Logarithm of the sum of |weight * dR / dweight|, R what flows to the end (SynFlow, Tanaka et al. 2020).

    Every weight is replaced by its magnitude, norms are bypassed, a sequence of ones takes the place of the
    embeddings, and R is the sum of the hidden states. Without norms a graph with products of k factors is of
    degree k in its input, and L such layers of degree k^L: the logarithm, which keeps the order, tames that
    scale, and -inf says that it left the range of float64. It is a heuristic here: negation, logsigmoid and
    the distances break the positivity that the theory rests on.
    """
    with torch.no_grad():
        for weight in model.parameters():
            weight.abs_()
    x = torch.ones(1, batch.ids.shape[1], model.encoder.config.width, dtype=torch.float64)  # (1, n, d)
    for layer in model.encoder.layers:
        layer.mixing_norm = layer.output_norm = nn.Identity()
    x = run_layers(model.encoder.layers, x)
    matrices = _matrices(model.encoder)
    gradients = torch.autograd.grad(x.sum(), matrices)
    flow = sum((matrix * gradient).abs().sum() for matrix, gradient in zip(matrices, gradients, strict=True))
    return torch.as_tensor(flow).log().item()


def _gradients(model: MaskedLM, batch: MaskedBatch) -> tuple[Tensor, ...]:
    """Gradients of the masked tokens' loss with respect to `_matrices`."""
    loss = language_objective("fp32")(model, batch, batch)
    return torch.autograd.grad(loss, _matrices(model))


def _matrices(model: nn.Module) -> list[Tensor]:
    return [part.weight for part in model.modules() if isinstance(part, nn.Linear)]
