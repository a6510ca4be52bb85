"""What peft has to know of our models."""

import sys

from autobert_zero.hf.configuration import AutoBertZeroConfig

LORA_TARGETS = ("projection",)
"""Modules that LoRA adapts by default: in every layer, the stacked projections of its inputs, as in BERT."""


def set_lora_targets() -> None:
    """Adds our default to peft's table of default targets, if peft is imported; again is harmless.

    The table is by model type and has no other way in. It is that of LoRA; peft has copies of it for other
    methods, which name their targets themselves.
    """
    peft = sys.modules.get("peft.utils.constants")
    if peft is not None:
        table = peft.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
        table.setdefault(AutoBertZeroConfig.model_type, list(LORA_TARGETS))
