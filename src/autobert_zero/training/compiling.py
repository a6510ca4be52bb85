"""Compiling models one after the other in a process."""

import torch
from torch import nn


def compile_model(model: nn.Module) -> None:
    """Compiles a model in place as the first one of the process.

    PyTorch counts how often a function was compiled, whatever the model: from its eighth version on
    (`recompile_limit`) later models would run as they are, and before that with dynamic shapes.
    """
    torch.compiler.reset()
    model.compile()
