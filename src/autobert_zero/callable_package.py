"""Packages that can be called: `autobert_zero.search` has its modules, `autobert_zero.search(...)` searches.

Python binds a sub-package to its name in the parent whenever anything imports it, so a function of that name
in the parent would last only until then. A class of its own for the module object, which Python's data model
provides for, makes the package itself the function: whatever was imported, in whatever order.
"""

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package that passes calls on to the function of its name in `autobert_zero.api`."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._function(*arguments, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature for `help` and editors."""
        return inspect.signature(self._function)

    @property
    def _function(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(
            import_module("autobert_zero.api"), self.__name__.rpartition(".")[2]
        )
        return function


def make_callable(package: str) -> None:
    """Makes an imported package callable."""
    sys.modules[package].__class__ = CallablePackage
