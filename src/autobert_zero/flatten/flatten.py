"""Several modules of the package as one file that needs none of them.

Definitions are copied as they are written, with their comments: those that the wanted names need, directly
or not, module after module in the order of imports. Where two modules give the same name to different
things, all but the first get their module's name at the end.
"""

import ast
import re
from collections.abc import Iterator, Sequence

from autobert_zero.flatten.modules import ParsedModule, Symbol, parse_module
from autobert_zero.flatten.references import Reference, references


def flatten(wanted: Sequence[Symbol], header: str) -> str:
    """Writes one file with the wanted definitions and all that they need of this package.

    Args:
        wanted: Symbols that the file must define.
        header: Docstring of the file.

    Returns:
        The source, with imports of other packages only.

    Raises:
        ValueError: A module does something that cannot be copied, such as a call at its top level.
    """
    needed = _needed(wanted)
    modules = _in_order_of_imports([module for module, _ in needed])
    symbols = [
        (module, name)
        for module in modules
        for name in parse_module(module).definitions
        if (module, name) in needed
    ]
    imports = {line for module, _, reference in _uses(symbols) if (line := _outer(module, reference))}
    names = _flat_names(symbols, {line.split()[-1] for line in imports})

    parts = []
    for module in modules:
        source = parse_module(module)
        statements = dict.fromkeys(source.definitions[name] for origin, name in symbols if origin == module)
        parts.append(f"# {module}: {source.summary}")
        parts += [_copied(module, statement, names) for statement in statements]
    top = [f'"""{header}"""', "from __future__ import annotations", "\n".join(_grouped(imports))]
    return "\n\n".join(top) + "\n\n\n" + "\n\n\n".join(parts) + "\n"


def _needed(wanted: Sequence[Symbol]) -> set[Symbol]:
    """The wanted symbols and all of this package that they refer to, directly or not."""
    needed: set[Symbol] = set()
    pending = [_origin(*symbol) for symbol in wanted]
    while pending:
        symbol = pending.pop()
        if symbol not in needed:
            needed.add(symbol)
            pending += [target for _, target, _ in _uses([symbol]) if target is not None]
    return needed


def _uses(symbols: Sequence[Symbol]) -> Iterator[tuple[str, Symbol | None, Reference]]:
    """Yields the references of definitions: the module of each, its target if in this package, and itself."""
    for module, name in symbols:
        for reference in references(parse_module(module).definitions[name]):
            yield module, _target(module, reference), reference


def _target(module: str, reference: Reference) -> Symbol | None:
    """The definition that a reference means; None if it is not in this package."""
    source = parse_module(module)
    if reference.name in source.definitions:
        return module, reference.name
    if reference.name not in source.own:
        return None
    module, name = source.own[reference.name]
    return _origin(module, name or _attribute(reference).attr)


def _attribute(reference: Reference) -> ast.Attribute:
    """The attribute of a module that a reference reads.

    Raises:
        ValueError: The module itself is used as a value.
    """
    if reference.attribute is None:
        raise ValueError(f"line {reference.node.lineno}: the module {reference.name} is used as a value")
    return reference.attribute


def _origin(module: str, name: str) -> Symbol:
    """Follows a name through the modules that pass it on to the one that defines it."""
    source = parse_module(module)
    if name in source.definitions:
        return module, name
    if name not in source.own:
        raise ValueError(f"{module} does not define {name!r}")
    return _origin(*source.own[name])


def _outer(module: str, reference: Reference) -> str | None:
    """The import line of another package that a reference needs."""
    source = parse_module(module)
    return None if reference.name in source.definitions else source.outer.get(reference.name)


def _grouped(imports: set[str]) -> list[str]:
    """Import lines, those from one package in one."""
    groups: dict[str, list[str]] = {}
    for line in sorted(imports):
        start, _, name = line.rpartition("import ")
        groups.setdefault(start, []).append(name)
    plain = [f"import {name}" for name in groups.pop("", [])]
    return plain + [f"{start}import {', '.join(names)}" for start, names in groups.items()]


def _flat_names(symbols: Sequence[Symbol], taken: set[str]) -> dict[Symbol, str]:
    """A name for every symbol, all different."""
    names: dict[Symbol, str] = {}
    for module, name in symbols:
        suffix = module.rsplit(".", 1)[-1]
        flat = name if name not in taken else f"{name}_{suffix.upper() if name.isupper() else suffix}"
        taken.add(flat)
        names[module, name] = flat
    return names


def _copied(module: str, statement: ast.stmt, names: dict[Symbol, str]) -> str:
    """The source of a definition with its comments, its references by their flat names."""
    source = parse_module(module)
    first, last = _extent(source, statement)
    lines = [line.encode() for line in source.lines]  # columns of the syntax tree count bytes
    for reference in reversed(references(statement)):
        target = _target(module, reference)
        if target is None:
            continue
        of_module = source.own.get(reference.name, ("", reference.name))[1] == ""
        node = _attribute(reference) if of_module else reference.node
        assert node.end_col_offset is not None
        if node.lineno != node.end_lineno:
            raise ValueError(f"{module}, line {node.lineno}: a reference over several lines")
        line = lines[node.lineno - 1]
        lines[node.lineno - 1] = (
            line[: node.col_offset] + names[target].encode() + line[node.end_col_offset :]
        )
    text = [line.decode() for line in lines]
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        flat = names[module, statement.name]
        index = statement.lineno - 1
        text[index] = re.sub(rf"^(def|class) {statement.name}\b", rf"\1 {flat}", text[index])
    return "\n".join(text[first:last])


def _extent(source: ParsedModule, statement: ast.stmt) -> tuple[int, int]:
    """First line and the one after the last: with decorators, comments before and a docstring after."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(node.lineno for node in decorators)]) - 1
    while first and source.lines[first - 1].startswith("#"):
        first -= 1
    assert statement.end_lineno is not None
    last = statement.end_lineno
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        while last < len(source.lines) and source.lines[last].startswith('"""'):
            last += 1
    return first, last


def _in_order_of_imports(modules: Sequence[str]) -> list[str]:
    """Each module once, after all that it imports, however indirectly."""
    order: dict[str, None] = {}
    entered: set[str] = set()

    def visit(module: str) -> None:
        if module in entered:
            return
        entered.add(module)
        for imported, _ in parse_module(module).own.values():
            visit(imported)
        order[module] = None

    for module in sorted(set(modules)):
        visit(module)
    return [module for module in order if module in set(modules)]
