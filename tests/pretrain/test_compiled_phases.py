"""A pre-training of several phases is compiled for each of their lengths."""

from pathlib import Path

import pytest
import tiny
import torch
from runs import arguments


@pytest.mark.slow
def test_each_phase_is_compiled_with_its_own_length(
    corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fixed shapes, although the lengths differ."""
    shapes: list[list[object]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[object]) -> object:
        if torch.is_grad_enabled():
            nodes = graph.graph.find_nodes(op="placeholder")
            shapes.append([size for node in nodes for size in node.meta["example_value"].shape])
        return graph.forward

    compile_as_usual = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda model: compile_as_usual(model, backend=backend))
    assert tiny.command(*arguments(corpus_file, tmp_path / "out", "recipe.compile=default")).code == 0
    assert len(shapes) == 2
    assert all(isinstance(size, int) for sizes in shapes for size in sizes)
