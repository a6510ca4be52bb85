"""Any valid attention graph as a multi-head layer."""

from torch import Tensor, nn

from autobert_zero.nn.compiler import Compiled
from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import Context
from autobert_zero.space import Graph
from autobert_zero.space.types import NN


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
        """Mixes tokens and projects the result.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.

        Returns:
            (B, n, d).
        """
        return self.output(self.mix(x, mask))

    def mix(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What `forward` computes before W_O, which treats each token alone.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.

        Returns:
            (B, n, d).
        """
        mixed = self.compute(self._projected(x), self._context(x, mask))
        # (B, H, n, d_h) -> (B, n, d)
        return mixed.transpose(1, 2).reshape(x.shape)

    def attention_map(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """How much each token takes of every other: for inspection, computed apart from `forward`.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.

        Returns:
            (B, H, n, n), rows that sum to 1 over the real tokens: the first softmax over an (n, n) that
            the formula names. None for a graph without one.
        """
        for node in self.graph.root.walk():
            if node.op == "softmax" and node.type == NN:
                return Interpreter(self.graph, node)(self._projected(x), self._context(x, mask))
        return None

    def _projected(self, x: Tensor) -> dict[str, Tensor]:
        """Each input of the graph, (B, H, n, d_h)."""
        batch, tokens, _ = x.shape
        projected = self.projection(x).view(batch, tokens, len(self.inputs), self.heads, -1)
        # (inputs, B, H, n, d_h)
        projected = projected.permute(2, 0, 3, 1, 4)
        return dict(zip(self.inputs, projected.unbind(0), strict=True))

    def _context(self, x: Tensor, mask: Tensor | None) -> Context:
        return Context(x.shape[-1] // self.heads, mask)
