"""References of a definition to names at the top level of its module."""

import ast
from dataclasses import dataclass

_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True)
class Reference:
    """An expression in the source that names something of the module.

    Attributes:
        name: The module-level name.
        node: Where it stands.
        attribute: The expression that takes an attribute of it, if one does: it may be a module.
    """

    name: str
    node: ast.Name
    attribute: ast.Attribute | None = None


def references(statement: ast.stmt) -> list[Reference]:
    """Lists the references of a top-level statement, in the order of the source.

    Names that a function binds, be it anywhere in it, are its own.
    """
    collector = _Collector()
    collector.visit(statement)
    return sorted(collector.found, key=lambda reference: (reference.node.lineno, reference.node.col_offset))


class _Collector(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[Reference] = []
        self._bound: list[set[str]] = []
        self._inside = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._enter(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._enter(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside += 1
        self.generic_visit(node)
        self._inside -= 1

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and self._is_free(node.value.id):
            self.found.append(Reference(node.value.id, node.value, node))
        else:
            self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        own = isinstance(node.ctx, ast.Store) and self._inside  # an attribute of a class, say
        if not own and self._is_free(node.id):
            self.found.append(Reference(node.id, node))

    def _enter(self, node: _Scope) -> None:
        given = node.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        bound = {argument.arg for argument in arguments if argument is not None}
        body = node.body if isinstance(node.body, list) else [node.body]
        for part in body:
            for inner in ast.walk(part):
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                    bound.add(inner.id)
                elif isinstance(inner, ast.MatchAs | ast.MatchStar) and inner.name:
                    bound.add(inner.name)
        self._inside += 1
        self._bound.append(bound)
        self.generic_visit(node)
        self._bound.pop()
        self._inside -= 1

    def _is_free(self, name: str) -> bool:
        return not any(name in bound for bound in self._bound)
