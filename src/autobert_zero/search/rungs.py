"""The rungs of successive halving: after how many steps a candidate is compared."""

from autobert_zero.search.training_config import ProxyConfig

RUNG = "rung "
"""Start of the names of metrics that are scores at rungs; the number of steps follows."""


def rung_steps(proxy: ProxyConfig) -> list[int]:
    """Numbers of steps after which candidates are scored and perhaps stopped, without the last."""
    return sorted({round(share * proxy.steps) for share in proxy.rungs} - {0, proxy.steps})


def rung_metric(steps: int) -> str:
    """Name of the metric of an outcome that is the candidate's score after the given number of steps."""
    return f"{RUNG}{steps}"
