"""Proxies work on a copy of the model, in double precision."""

import copy
from collections.abc import Callable
from functools import wraps
from math import inf, isfinite

import torch
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # documented, not in __all__

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import MaskedLM

Proxy = Callable[[MaskedLM, MaskedBatch], float]
"""Returns a value of a model on one batch, higher is better; leaves the model unchanged."""


def on_a_copy(proxy: Proxy) -> Proxy:
    """Hands a proxy a copy of the model, in evaluation mode and float64, every weight with a gradient.

    In single precision the small eigenvalues that `jacov` takes the logarithm and the reciprocal of are
    rounding noise (its value was wrong by up to 160 % over 60 random backbones), and the distance of a row to
    itself is not 0 and has a steep slope (gradients wrong by 0.002 %).

    Returns:
        The proxy, which leaves the model unchanged and returns -inf for values that are not finite.
    """

    @wraps(proxy)
    def measured(model: MaskedLM, batch: MaskedBatch) -> float:
        twin = copy.deepcopy(model).to(torch.float64).eval().requires_grad_(True)
        try:
            value = proxy(twin, batch)
        except LinAlgError:  # a matrix that is not finite has no eigenvalues
            return -inf
        return value if isfinite(value) else -inf

    return measured
