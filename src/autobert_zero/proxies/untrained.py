"""A proxy as a function of a backbone alone."""

from dataclasses import dataclass

import torch

from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.proxies.copies import Proxy
from autobert_zero.space import Backbone


@dataclass(frozen=True)
class Untrained:
    """Measures backbones with fresh weights, all drawn from one seed, on one batch; on the CPU.

    PyTorch's own random numbers go on as if nothing had been drawn.

    Attributes:
        proxy: One of `PROXIES`.
        model: Sizes of the models.
        batch: The batch that models are measured on.
        seed: Seed of the weights.
    """

    proxy: Proxy
    model: EncoderConfig
    batch: MaskedBatch
    seed: int

    def __call__(self, backbone: Backbone) -> float:
        """The proxy's value; higher is better, -inf where it is not finite."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = MaskedLM(backbone, self.model)
        return self.proxy(model, self.batch)
