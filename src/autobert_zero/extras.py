"""Optional packages, and the extra of this package that installs each."""

from importlib.util import find_spec

from autobert_zero.errors import UserError

EXTRAS = {
    "hf": ("transformers",),
    "pretrain": ("transformers", "accelerate", "tensorboard"),
    "finetune": ("transformers", "sklearn", "seqeval"),
    "export": ("transformers", "matplotlib", "onnx", "onnxruntime", "onnxscript"),
    "draw": ("matplotlib",),
    "ray": ("ray",),
}
"""Modules that come with each extra, the smallest extra of a module first."""


def require(what: str, extra: str, *modules: str, otherwise: str = "") -> None:
    """Checks that optional packages are installed, before any work is done.

    Args:
        what: What needs the packages, for the message.
        extra: The extra that brings them.
        modules: Modules of the packages; by default all of the extra.
        otherwise: An alternative, for the message.

    Raises:
        UserError: One is missing.
    """
    missing = [name for name in modules or EXTRAS[extra] if not _installed(name)]
    if missing:
        raise UserError(
            f"{what} needs {' and '.join(missing)}: pip install 'autobert-zero[{extra}]'{otherwise}"
        )


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Says how to install a module that an import did not find; None where it belongs to no extra."""
    name = (error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if name in modules:
            return f"this needs {name}: pip install 'autobert-zero[{extra}]'"
    return None


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a finder that refuses, or a module without a spec
        return False
