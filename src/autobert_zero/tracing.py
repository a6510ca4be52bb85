"""Marks functions that `torch.compile` calls while compiling instead of tracing them."""

from collections.abc import Callable
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable[..., object])


def called_while_compiling(function: _Function) -> _Function:
    """Lets `torch.compile` call a function where it would trace it.

    As `torch.compiler.assume_constant_result` does, which imports the compiler; that takes a second.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001 - public only with the import
    return function
