"""The plain interpreter: one kernel call for every distinct node of a graph, in order."""

from collections.abc import Mapping

from torch import Tensor

from autobert_zero.nn.kernels import KERNELS, Context
from autobert_zero.space import Graph


class Interpreter:
    """A graph as a function of its inputs; shared nodes are computed once."""

    def __init__(self, graph: Graph) -> None:
        self.inputs = graph.inputs
        self._steps = [
            (node.code, KERNELS[node.op], [arg.code for arg in node.args], [arg.type for arg in node.args])
            for node in graph.nodes
            if node.args
        ]
        self._inputs = {node.op: node.code for node in graph.nodes if not node.args}
        self._output = graph.code

    def __call__(self, inputs: Mapping[str, Tensor], context: Context) -> Tensor:
        """Computes the graph; see `Compiled`."""
        return self.values(inputs, context)[self._output]

    def values(self, inputs: Mapping[str, Tensor], context: Context) -> dict[str, Tensor]:
        """Computes every node of the graph; see `__call__`.

        Returns:
            Each node's value by the node's code.
        """
        values = {code: inputs[name] for name, code in self._inputs.items()}
        for code, kernel, args, types in self._steps:
            values[code] = kernel([values[arg] for arg in args], types, context)
        return values
