"""Zero-cost proxies: guesses of how well a backbone will learn, from its untrained weights and one batch.

Add one by adding a function to `PROXIES`. For all of them higher is better.
"""

from autobert_zero.proxies.activations import jacov, w_pca
from autobert_zero.proxies.baselines import attention_layers, flop_count, mixing_layers, parameter_count
from autobert_zero.proxies.copies import Proxy
from autobert_zero.proxies.gradients import grad_norm, snip, synflow
from autobert_zero.proxies.untrained import Untrained

PROXIES: dict[str, Proxy] = {
    "parameters": parameter_count,
    "flops": flop_count,
    "attention_layers": attention_layers,
    "mixing_layers": mixing_layers,
    "grad_norm": grad_norm,
    "snip": snip,
    "synflow": synflow,
    "jacov": jacov,
    "w_pca": w_pca,
}

__all__ = ["PROXIES", "Proxy", "Untrained"]
