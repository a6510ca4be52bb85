"""Any valid attention graph as a multi-head layer."""

import torch
from torch import Tensor, nn

from autobert_zero.encoder_config import ROTARY_BASE
from autobert_zero.nn.compiler import Compiled
from autobert_zero.nn.documents import Documents
from autobert_zero.nn.interpreter import Interpreter
from autobert_zero.nn.kernels import Context
from autobert_zero.nn.rows import select_rows
from autobert_zero.space import Graph, check_head_dim
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
        bias: Whether the projections have biases.
        rotary_base: Base of the angles of `rotary`.

    Raises:
        SpaceError: The graph needs an even head dimension, and it is odd.
    """

    def __init__(
        self, graph: Graph, width: int, heads: int, bias: bool = True, rotary_base: float = ROTARY_BASE
    ) -> None:
        super().__init__()
        check_head_dim(graph.operations, width, heads)
        self.graph = graph
        self.heads = heads
        self.rotary_base = rotary_base
        self.inputs = graph.inputs
        self.projection = nn.Linear(width, len(self.inputs) * width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        self.compute: Compiled | Interpreter = Compiled(graph)
        maps = (node.code for node in graph.root.walk() if node.op == "softmax" and node.type == NN)
        self._map = next(maps, None)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        documents: Documents | None = None,
        rows: Tensor | None = None,
        with_map: bool = False,
        positions: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Mixes tokens and projects the result.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.
            documents: As in `EncoderLayer`; each has positions of its own.
            rows: As in `EncoderLayer`.
            with_map: Whether to compute with the interpreter and return the attention map too. Excludes
                `documents`.
            positions: (B, n) or (1, n) positions of the tokens; None means 0, 1, 2, ...

        Returns:
            (B, n, d), or (m, d) for the chosen rows. With `with_map` also the map from which that was
            computed, (B, H, n, n), how much each token takes from every other: the first softmax over an
            (n, n) that the formula names, rows that sum to 1 over the real tokens; None for a formula
            without one.
        """
        weights = None
        if mask is not None:
            # Padding may hold anything, NaN too; what is finite stays, so that states of padding are BERT's.
            x = torch.where(mask[..., None], x, x.nan_to_num(0.0, 0.0, 0.0))
        if documents is not None:
            mixed = documents.mix_within(self._mix, x)
        elif with_map and self._map is not None:
            values = Interpreter(self.graph).values(self._projected(x), self._context(x, mask, positions))
            mixed, weights = _joined(values[self.graph.code]), values[self._map]
        else:
            mixed = self._mix(x, mask, positions)
        output = self.output(select_rows(mixed, rows))
        return (output, weights) if with_map else output

    def _mix(self, x: Tensor, mask: Tensor | None, positions: Tensor | None = None) -> Tensor:
        """(B, n, d) and a mask to (B, n, d): all but the last projection."""
        return _joined(self.compute(self._projected(x), self._context(x, mask, positions)))

    def _projected(self, x: Tensor) -> dict[str, Tensor]:
        """Each input of the graph, (B, H, n, d_h)."""
        batch, tokens, _ = x.shape
        # (B, n, inputs, H, d_h)
        projected = self.projection(x).view(batch, tokens, len(self.inputs), self.heads, -1)
        # Split before it is transposed: the gradients are then gathered in the layout of the projection.
        split = [projection.transpose(1, 2) for projection in projected.unbind(2)]  # each (B, H, n, d_h)
        return dict(zip(self.inputs, split, strict=True))

    def _context(self, x: Tensor, mask: Tensor | None, positions: Tensor | None) -> Context:
        return Context(x.shape[-1] // self.heads, mask, positions, self.rotary_base, finite=True)


def _joined(heads: Tensor) -> Tensor:
    """(B, H, n, d_h) -> (B, n, d)."""
    return heads.transpose(1, 2).flatten(2)
