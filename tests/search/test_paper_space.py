"""What a seed gives in the paper's space stays what it was: recorded runs replay, and results repeat."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from autobert_zero.search.config import StrategyConfig
from autobert_zero.search.loop import MemoryHistory, Search
from autobert_zero.search.strategies import STRATEGIES, make_strategy
from autobert_zero.search.toy import ToyEvaluator
from autobert_zero.space import Space, canonical, count_backbones, count_graphs, sample_backbone, sample_graph
from autobert_zero.space.mutate import draw_uniformly, mutate_attention, mutate_graph, mutate_layer_type

GOLDEN = Path(__file__).parent.parent / "golden" / "paper_space.json"
"""Recorded before a space had primitives of its own; made anew by running this file."""

_TPE_TRIALS = 16  # Optuna takes some milliseconds for every choice in a proposal
_TRIALS = 60


def _digest(texts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()


def sampled() -> dict[str, Any]:
    """Samples, mutations and counts."""
    random = Random("golden")
    graphs = [sample_graph(random, max_ops) for max_ops in (1, 2, 3, 6, 12, 20, 64) for _ in range(300)]
    backbones = [
        sample_backbone(random, Space(layers, max_ops, share))
        for layers, max_ops, share in ((1, 1, 1.0), (3, 6, 0.5), (12, 12, 0.3), (4, 12, 0.0))
        for _ in range(100)
    ]
    walk, graph = [], graphs[-1]
    for step in range(2000):
        graph, name = mutate_graph(random, graph, 12 if step < 1500 else 3)
        walk.append(f"{name}: {graph.code}")
    space, backbone = Space(4), backbones[-1]
    for _ in range(500):
        backbone, says = mutate_layer_type(random, backbone, space)
        walk.append(says)
        backbone, says = mutate_attention(random, backbone, space, lambda index: draw_uniformly)
        walk.append(says)
    return {
        "graphs": _digest(graph.code for graph in graphs),
        "first graphs": [graph.code for graph in graphs[600:605]],
        "canonical": _digest(canonical(graph).code for graph in graphs),
        "backbones": _digest(map(str, backbones)),
        "keys": _digest(backbone.key() for backbone in backbones),
        "mutations": _digest(walk),
        "count": str(count_graphs(12)),
        "count of backbones": str(count_backbones(Space(12))),
    }


def proposed(name: str) -> str:
    """What a strategy proposes in a search with the toy evaluator."""
    space = Space(layers=3, max_ops=6)
    evaluator = ToyEvaluator(sample_backbone(Random("target"), space).canonical())
    settings = StrategyConfig(name=name, population=6, parents=2, children=2)
    strategy = make_strategy(space, 7, settings)
    trials = Search(strategy, evaluator, MemoryHistory()).run(_TPE_TRIALS if name == "tpe" else _TRIALS)
    proposals = [trial.proposal for trial in trials]
    return _digest(f"{each.backbone} {each.mutations} {each.repeats}" for each in proposals)


def test_samples_mutations_and_counts_are_what_they_were() -> None:
    assert sampled() == json.loads(GOLDEN.read_text("utf-8"))["sampled"]


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_propose_what_they_did(name: str) -> None:
    assert proposed(name) == json.loads(GOLDEN.read_text("utf-8"))["proposed"][name]


if __name__ == "__main__":
    golden = {"sampled": sampled(), "proposed": {name: proposed(name) for name in STRATEGIES}}
    GOLDEN.write_text(json.dumps(golden, indent=2) + "\n", encoding="utf-8")
