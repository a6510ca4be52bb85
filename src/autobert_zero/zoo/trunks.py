"""Trunks: what all layers of an encoder share beside their token mixing."""

from typing import Any

BERT_TRUNK: dict[str, Any] = {
    "norm": "post",
    "feed_forward_kind": "gelu",
    "positions": "learned",
    "biases": True,
}
"""Settings of `EncoderConfig` that BERT was published with."""
MODERN_TRUNK: dict[str, Any] = {
    "norm": "pre",
    "feed_forward_kind": "geglu",
    "positions": "none",
    "biases": False,
}
"""Those of the modern presets: the trunk of ModernBERT, without a limit to the length."""
