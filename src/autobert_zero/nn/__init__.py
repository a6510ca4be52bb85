"""PyTorch modules of backbones: attention graphs, convolutions, encoders, heads, and shared weights."""

import autobert_zero.nn.fused_convolution  # noqa: F401 - it registers its form
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.bank import NoSharing, WeightBank
from autobert_zero.nn.encoder import Encoder
from autobert_zero.nn.fingerprint import fingerprint
from autobert_zero.nn.heads import MaskedLM, PreTraining
from autobert_zero.nn.trained import Trained

__all__ = [
    "Encoder",
    "EncoderConfig",
    "MaskedLM",
    "NoSharing",
    "PreTraining",
    "Trained",
    "WeightBank",
    "fingerprint",
]
