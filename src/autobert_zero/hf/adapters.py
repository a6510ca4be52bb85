"""Defaults of our models for the adapters of peft."""

import sys

from autobert_zero.hf.configuration import AutoBertZeroConfig

LORA_TARGETS = ("projection",)
"""Modules that LoRA adapts by default: in every layer, the stacked projections of its inputs, as in BERT."""


def set_lora_targets() -> None:
    """Adds our default to peft's table of LoRA targets if peft is imported. Idempotent.

    peft looks the targets up by model type and has no function that registers them. Its other methods have
    tables of their own; users of those name the targets.
    """
    peft = sys.modules.get("peft.utils.constants")
    if peft is not None:
        table = peft.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
        table.setdefault(AutoBertZeroConfig.model_type, list(LORA_TARGETS))
