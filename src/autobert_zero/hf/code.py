"""The modelling code for those without this package: all classes in one file."""

from functools import cache

from autobert_zero.flatten.flatten import flatten
from autobert_zero.flatten.modules import Place
from autobert_zero.hf.auto import MODELS
from autobert_zero.hf.configuration import AutoBertZeroConfig

CODE = "modeling_autobert_zero"
"""Name of the module."""

AUTO_MAP = {
    "AutoConfig": f"{CODE}.{AutoBertZeroConfig.__name__}",
    **{auto.__name__: f"{CODE}.{model.__name__}" for auto, model in MODELS.items()},
}
"""Which class of the module each Auto class loads, as config.json names them."""


@cache
def flat_code() -> str:
    """Writes the module: the configuration, all models and what they need of this package."""
    wanted: list[Place] = [
        (kind.__module__, kind.__name__) for kind in (AutoBertZeroConfig, *MODELS.values())
    ]
    header = (
        "The models of AutoBERT-Zero in one file, which needs torch, transformers and safetensors only.\n\n"
        "Written by `autobert-zero` from the modules named below. Licence: Apache-2.0.\n"
    )
    return flatten(wanted, header)
