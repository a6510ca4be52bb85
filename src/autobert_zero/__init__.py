"""AutoBERT-Zero: discover language-model backbones from primitive operations, and train what is found.

    import autobert_zero as az

    best = az.search("runs/demo", seed=0)
    az.draw(best, "best.svg")
    az.pretrain("models/best", best, settings={"model.width": 64})
    score = az.finetune("models/best", "sst2", "tuned", data="data/sst2", seeds=2)
    print(best, score.mean["validation"]["accuracy"])

Each is loaded when it is first used: importing the package loads neither PyTorch nor NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autobert_zero.api import draw, finetune, pretrain, search
    from autobert_zero.space import Backbone

    __version__: str

_CALLABLE = ("finetune", "pretrain", "search")
"""Packages that are functions too, see `callable_package`."""

_DEFINED_IN = {"Backbone": "space", "draw": "api"}


def __getattr__(name: str) -> Any:
    """Loads what the front door offers, at its first use."""
    if name in _CALLABLE:
        return import_module(f"{__name__}.{name}")
    if name == "__version__":
        return import_module(f"{__name__}.provenance").version()
    if name in _DEFINED_IN:
        return getattr(import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = ["Backbone", "__version__", "draw", "finetune", "pretrain", "search"]
