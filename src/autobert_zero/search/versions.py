"""What a run was made with."""

import platform
from importlib.metadata import version

_PACKAGES = ("autobert-zero", "torch", "numpy", "tokenizers", "optuna")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that the figures of a run may depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
