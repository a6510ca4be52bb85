"""Successive halving: after how many steps a candidate is compared, and what it then has to reach."""

from autobert_zero.search.training_config import ProxyConfig


def rung_steps(proxy: ProxyConfig) -> list[int]:
    """After how many steps candidates are scored and perhaps stopped, without the last."""
    return sorted({round(share * proxy.steps) for share in proxy.rungs} - {0, proxy.steps})


def rung_metric(steps: int) -> str:
    """Name of the metric of an outcome that is the candidate's score after the given number of steps."""
    return f"rung {steps}"
