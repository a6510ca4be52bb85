"""Evolution without priority: the paper's ablation of OP-NAS."""

from autobert_zero.search.strategies.op_nas import PaperOpNas
from autobert_zero.space.mutate import Draw, draw_uniformly


class Evolution(PaperOpNas):
    """The paper's OP-NAS with mutations that draw every operation that fits with equal probability."""

    def _draw(self, position: int) -> Draw:
        return draw_uniformly
