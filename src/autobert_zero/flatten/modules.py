"""Modules of the package, taken apart into definitions and imports."""

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PACKAGE = "autobert_zero"

Symbol = tuple[str, str]
"""A module and a name that it defines at its top level."""


@dataclass(frozen=True)
class ParsedModule:
    """A module's source, taken apart.

    Attributes:
        name: Its dotted name.
        lines: Its source.
        summary: First line of its docstring.
        definitions: Name to the statement that defines it; several names may have the same.
        own: Local name to the symbol in this package that it was imported from; for a module, the name is "".
        outer: Local name to the line that imports it from elsewhere.
    """

    name: str
    lines: tuple[str, ...]
    summary: str
    definitions: dict[str, ast.stmt]
    own: dict[str, Symbol]
    outer: dict[str, str]


@cache
def parse_module(module: str) -> ParsedModule:
    """Parses a module of this package.

    Raises:
        ValueError: The module has statements other than imports and definitions.
    """
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    tree = ast.parse(text)
    definitions: dict[str, ast.stmt] = {}
    own: dict[str, Symbol] = {}
    outer: dict[str, str] = {}
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                definitions[name] = statement
            case ast.Assign() | ast.AnnAssign():
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                stored = [
                    node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
                ]
                definitions |= dict.fromkeys(stored, statement)
            case ast.Import(names=aliases):
                outer |= {alias.asname or alias.name: _import_line("", alias) for alias in aliases}
            case ast.ImportFrom(module=str(origin), names=aliases) if origin.split(".")[0] == _PACKAGE:
                own |= {alias.asname or alias.name: _imported(origin, alias.name) for alias in aliases}
            case ast.ImportFrom(module=str(origin), names=aliases) if origin != "__future__":
                outer |= {alias.asname or alias.name: _import_line(origin, alias) for alias in aliases}
            case ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                raise ValueError(f"{module}, line {statement.lineno}: only definitions can be copied")
    summary = (ast.get_docstring(tree) or "").split("\n")[0]
    return ParsedModule(module, tuple(text.splitlines()), summary, definitions, own, outer)


def _imported(module: str, name: str) -> Symbol:
    """The symbol of `from module import name`, where name may be a module."""
    inner = f"{module}.{name}"
    try:
        is_module = importlib.util.find_spec(inner) is not None
    except ModuleNotFoundError:  # `module` is no package
        is_module = False
    return (inner, "") if is_module else (module, name)


def _import_line(module: str, alias: ast.alias) -> str:
    start = f"from {module} import" if module else "import"
    return f"{start} {alias.name}" + (f" as {alias.asname}" if alias.asname else "")
