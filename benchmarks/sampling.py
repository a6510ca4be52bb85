"""Speed of sampling candidates, against growing graphs forward and rejecting invalid ones.

    python benchmarks/sampling.py [--quick]

On one core. Each candidate is a valid graph, which is sampled, put in canonical form and hashed, as a search
does to tell whether it is new; in the paper's space and, under `modern`, in the space of all primitives. The
naive peer grows a graph of as many operations from the inputs, each step a random primitive of the paper on
random nodes, and rejects it if shapes do not match, if the output is not (n, d), or if fewer than two inputs
are used. The last line is one JSON object.
"""

import argparse
import json
import platform
from collections.abc import Callable
from random import Random
from statistics import median, quantiles
from time import perf_counter, perf_counter_ns

from autobert_zero.space import PAPER, PRIMITIVES, SETS, Graph, Node, canonical, sample_graph
from autobert_zero.space.backbone import hash_codes
from autobert_zero.space.graph import INPUT_CODES, INPUT_NODES
from autobert_zero.space.primitives import MIN_INPUTS
from autobert_zero.space.types import ND

MAX_OPS = 12
LIST = [PRIMITIVES[name] for name in PAPER]


def candidate(random: Random) -> str:
    """Samples a graph by the table of counts, and returns the key of its canonical form."""
    return hash_codes([canonical(sample_graph(random, MAX_OPS)).code])


def modern_candidate(random: Random) -> str:
    """Samples as `candidate` does, in the space of all primitives."""
    return hash_codes([canonical(sample_graph(random, MAX_OPS, SETS["modern"])).code])


def naive_candidate(random: Random) -> str | None:
    """Grows a graph forward, and returns its key, or None if it is rejected."""
    graph = naive_graph(random)
    return hash_codes([canonical(graph).code]) if graph else None


def naive_graph(random: Random) -> Graph | None:
    """Draws a graph forward; None if it is not in the space."""
    nodes: list[Node] = list(INPUT_NODES.values())
    for _ in range(random.randint(1, MAX_OPS)):
        primitive = random.choice(LIST)
        args = tuple(random.choices(nodes, k=primitive.arity))
        type_ = primitive.rule(*[arg.type for arg in args])
        if type_ is None:
            return None
        nodes.append(Node(primitive.name, args, type_))
    root = nodes[-1]
    if root.type != ND or len({symbol for symbol in root.code if symbol in INPUT_CODES}) < MIN_INPUTS:
        return None
    return Graph(root)


def timed(draw: Callable[[Random], str | None], random: Random, count: int) -> tuple[list[str], float]:
    """Draws `count` candidates; returns the keys of the valid ones, and the seconds taken."""
    start = perf_counter()
    keys = [draw(random) for _ in range(count)]
    return [key for key in keys if key is not None], perf_counter() - start


def main() -> None:
    """Measures all ways and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer draws and repetitions")
    quick = parser.parse_args().quick
    count, repetitions = (5_000, 5) if quick else (20_000, 15)

    random = Random(0)
    timed(candidate, random, 1_000)  # fills the table of counts
    timed(modern_candidate, random, 1_000)
    timed(naive_candidate, random, 1_000)
    rates, modern_rates, naive_rates = [], [], []
    keys: list[str] = []
    modern_keys: list[str] = []
    naive_keys: list[str] = []
    for _ in range(repetitions):  # in turn, so that all see the same machine
        valid, seconds = timed(candidate, random, count)
        keys += valid
        rates.append(len(valid) / seconds)
        valid, seconds = timed(modern_candidate, random, count)
        modern_keys += valid
        modern_rates.append(len(valid) / seconds)
        valid, seconds = timed(naive_candidate, random, count)
        naive_keys += valid
        naive_rates.append(len(valid) / seconds)

    times = []
    for _ in range(count):
        start = perf_counter_ns()
        candidate(random)
        times.append((perf_counter_ns() - start) / 1000)

    drawn = count * repetitions
    result = {
        "benchmark": "sampling",
        "quick": quick,
        "python": platform.python_version(),
        "max_ops": MAX_OPS,
        "graphs": drawn,
        "repetitions": repetitions,
        "graphs_per_second": round(median(rates)),
        "graphs_per_second_min": round(min(rates)),
        "graphs_per_second_max": round(max(rates)),
        "median_us": round(median(times), 1),
        "p99_us": round(quantiles(times, n=100)[98], 1),
        "valid_share": len(keys) / drawn,
        "distinct_share": round(len(set(keys)) / len(keys), 4),
        "modern_graphs_per_second": round(median(modern_rates)),
        "modern_distinct_share": round(len(set(modern_keys)) / len(modern_keys), 4),
        "naive_valid_share": round(len(naive_keys) / drawn, 4),
        "naive_graphs_per_second": round(median(naive_rates)),
        "naive_distinct_share": round(len(set(naive_keys)) / len(naive_keys), 4),
        "ratio_to_naive": round(median(rates) / median(naive_rates), 2),
    }
    for name, value in result.items():
        print(f"{name:26}{value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
