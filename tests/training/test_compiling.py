"""Every model of a process is compiled, and as if it were the first."""

from typing import Any

import pytest
import torch
from torch import nn

from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.compiling import compile_model


@pytest.mark.parametrize("models", [[(width, 8) for width in range(8, 28, 2)], [(8, 8), (8, 12), (8, 16)]])
def test_models_are_compiled_as_if_each_were_the_first(
    monkeypatch: pytest.MonkeyPatch, models: list[tuple[int, int]]
) -> None:
    """More of them than PyTorch compiles versions of a function; with fixed shapes after other lengths."""
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compile_as_usual = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda model: compile_as_usual(model, backend=backend))
    for width, length in models:
        model = MaskedLM(Backbone.parse("conv 3"), EncoderConfig(24, width=width, heads=2, max_positions=16))
        compile_model(model)
        model(torch.zeros(2, length, dtype=torch.int64), torch.arange(3)).sum().backward()
    assert len(graphs) == len(models)
    inputs = [
        node.meta["example_value"] for graph in graphs for node in graph.graph.find_nodes(op="placeholder")
    ]
    assert all(isinstance(size, int) for each in inputs for size in each.shape)
