"""Any valid attention graph as a multi-head layer."""

from torch import Tensor, nn

from autobert_zero.nn.compiler import Compiled
from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import Context
from autobert_zero.space import Graph


class GraphAttention(nn.Module):
    """Projects X to the inputs that the graph uses, computes the graph per head, projects back with W_O.

    The projections are one matrix, the inputs in use stacked in the order Q, K, V, P.

    Attributes:
        compute: The graph as a function; an `Interpreter` may take its place, as a reference.

    Args:
        graph: The attention graph.
        width: d.
        heads: H; divides d.
    """

    def __init__(self, graph: Graph, width: int, heads: int) -> None:
        super().__init__()
        self.graph = graph
        self.heads = heads
        self.inputs = graph.inputs
        self.projection = nn.Linear(width, len(self.inputs) * width)
        self.output = nn.Linear(width, width)
        self.compute: Compiled | Interpreter = Compiled(graph)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Mixes tokens.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.

        Returns:
            (B, n, d).
        """
        batch, tokens, width = x.shape
        projected = self.projection(x).view(batch, tokens, len(self.inputs), self.heads, -1)
        # (inputs, B, H, n, d_h)
        projected = projected.permute(2, 0, 3, 1, 4)
        named = dict(zip(self.inputs, projected.unbind(0), strict=True))
        mixed = self.compute(named, Context(width // self.heads, mask))
        # (B, H, n, d_h) -> (B, n, d)
        return self.output(mixed.transpose(1, 2).reshape(batch, tokens, width))
