"""Modules as one file: what is copied, what is renamed, and that it needs nothing of the package."""

import ast
import importlib.util
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from autobert_zero import zoo
from autobert_zero.flatten import flatten as flatten_module
from autobert_zero.flatten.flatten import flatten
from autobert_zero.flatten.references import references
from autobert_zero.nn.attention import GraphAttention
from autobert_zero.nn.compiler import Compiled
from autobert_zero.space import Attention, Backbone

GRAPH_ATTENTION = ("autobert_zero.nn.attention", "GraphAttention")


def loaded(source: str, path: Path) -> ModuleType:
    """Imports a source as a module of its own."""
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def names(code: str) -> list[tuple[str, str | None]]:
    (statement,) = ast.parse(code).body
    return [(each.name, each.attribute.attr if each.attribute else None) for each in references(statement)]


def test_references_by_hand() -> None:
    assert names("def f(a, b=C):\n    d = a + E\n    return [x.y for x in d] + m.n") == [
        ("C", None),
        ("E", None),
        ("m", "n"),
    ]
    assert names("class A(B):\n    c: D = E\n    def f(self): return c, A") == [
        ("B", None),
        ("D", None),
        ("E", None),
        ("c", None),
        ("A", None),
    ]
    assert names("a = lambda b: b + c") == [("a", None), ("c", None)]
    assert names("def f(x):\n    match x:\n        case G(h): return h, i") == [("G", None), ("i", None)]


def test_only_what_is_needed_is_copied() -> None:
    source = flatten([("autobert_zero.nn.kernels", "zero_padding")], "Doc.")
    body = ast.parse(source).body
    assert ast.get_docstring(ast.parse(source)) == "Doc."
    defined = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert defined == ["zero_padding"]
    imports = [ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports == ["from __future__ import annotations", "from torch import Tensor"]
    assert "Type = str" in source


def test_nothing_of_the_package_is_imported(tmp_path: Path) -> None:
    source = flatten([GRAPH_ATTENTION], "")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] != "autobert_zero"
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] != "autobert_zero" for alias in node.names)


def test_equal_names_of_different_things_are_kept_apart(tmp_path: Path) -> None:
    """`_DIGITS` are a number in one module and letters in another."""
    modules = [f"autobert_zero.{name}" for name in ("space.canonical", "nn.fingerprint")]
    module = loaded(
        flatten([*((name, "_DIGITS") for name in modules), GRAPH_ATTENTION], ""), tmp_path / "flat_names.py"
    )
    kept = [value for name, value in vars(module).items() if name.startswith("_DIGITS")]
    assert kept == [vars(import_module(name))["_DIGITS"] for name in modules]


def test_the_copy_computes_the_same(tmp_path: Path) -> None:
    wanted = [GRAPH_ATTENTION, ("autobert_zero.space", "parse_formula")]
    module = loaded(flatten(wanted, ""), tmp_path / "flat_same.py")
    for index, layer in enumerate(zoo.autobert_zero_base().layers):
        if not isinstance(layer, Attention):
            continue
        torch.manual_seed(index)
        ours = GraphAttention(layer.graph, 8, 2)
        graph = module.parse_formula(str(layer))
        theirs = module.GraphAttention(graph, 8, 2)
        theirs.load_state_dict(ours.state_dict())
        assert type(theirs.compute) is not Compiled
        x, mask = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        assert torch.equal(ours(x, mask), theirs(x, mask))
        (_, shown), (_, expected) = (each(x, mask, with_map=True) for each in (theirs, ours))
        assert torch.equal(shown, expected)


def test_errors_are_those_of_the_copy(tmp_path: Path) -> None:
    module = loaded(flatten([("autobert_zero.space.backbone", "Backbone")], ""), tmp_path / "flat_errors.py")
    with pytest.raises(module.FormulaError, match="line 2: unknown name 'Z'"):
        module.Backbone.parse("conv 3\nQ + Z")
    text = "conv 9\nsoftmax(scale(Q @ K.T)) @ V"
    assert module.Backbone.parse(text).key() == Backbone.parse(text).key()


def test_what_cannot_be_copied_is_refused() -> None:
    with pytest.raises(ValueError, match=r"autobert_zero\.hf, line \d+: only definitions can be copied"):
        flatten([("autobert_zero.hf", "from_zoo")], "")
    with pytest.raises(ValueError, match="does not define 'nothing'"):
        flatten([("autobert_zero.nn.kernels", "nothing")], "")


def test_a_method_called_like_a_function_is_not_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`canonical` is a method, and a function whose name is taken."""
    name_all = flatten_module._flat_names
    monkeypatch.setattr(
        flatten_module, "_flat_names", lambda places, taken: name_all(places, taken | {"canonical"})
    )
    source = flatten([("autobert_zero.space", "Backbone")], "")
    assert "def canonical_canonical(" in source
    module = loaded(source, tmp_path / "flat_m.py")
    text = "conv 3\n(K + Q) * V"
    assert module.Backbone.parse(text).canonical().to_list() == Backbone.parse(text).canonical().to_list()
