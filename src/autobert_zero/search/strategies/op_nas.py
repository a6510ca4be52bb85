"""OP-NAS, evolution guided by operation priority, and its variants: choices of the parts of `Rounds`."""

from functools import partial

from autobert_zero.search.strategies.population import ByFronts
from autobert_zero.search.strategies.rounds import Rounds

DRAWS = 16
"""Mutations of a parent that `op_nas` chooses a child from."""

paper_op_nas = partial(Rounds, by_priority=True)
"""The paper's: parents by score, operations of mutations by priority."""

op_nas = partial(Rounds, by_priority=True, draws=DRAWS)
"""The paper's, but a child is the mutation with the highest total priority out of `DRAWS`, so that priority
also decides on kernels, on the kind of a layer and on which layer changes."""

pareto_op_nas = partial(Rounds, population=ByFronts, by_priority=True, draws=DRAWS)
"""Ours for several objectives: the reward of an operation is how early the fronts of its trials are."""

evolution = partial(Rounds, by_priority=False)
"""The paper's ablation: no priority."""
