"""Counts how often a training step waits for the device, and how many operations it launches.

    python benchmarks/step_waits.py [--quick]

A step of the product's loop runs on a fake accelerator (`fake_accelerator.py`): on the CPU, with the branches
that a GPU takes, in bf16. Views are not counted, casts of autocast are. `waits` is the mean over ten
steps and `launches` the number in one, of BERT at width 128 with 4 layers and any number of sequences of 128
tokens; `cases` has both for other models, with the operations by name. With --quick the models are tiny.
Prints one JSON object as its last line.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from fake_accelerator import DEVICE, fake_device

from autobert_zero import zoo
from autobert_zero.data.masking import MaskedBatch, Masking, Vocabulary, mask_batch
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, make_optimizer, train

STEPS = 10
"""Steps that are counted, after a first one that makes the optimiser's state."""


@dataclass(frozen=True)
class Size:
    """What is trained; no count depends on the number of sequences in a batch."""

    width: int = 128
    heads: int = 4
    vocabulary: int = 8192
    batch: int = 2
    length: int = 128


TINY = Size(16, 2, 64, 4, 8)


@dataclass(frozen=True)
class Count:
    """The counts of a training.

    Attributes:
        waits: Mean number of waits for the device per step.
        launches: Number of operations launched per step.
        places: Number of waits in all steps, by operation.
        operations: Launches per step by operation, the most frequent first.
    """

    waits: float
    launches: int
    places: dict[str, int]
    operations: dict[str, int]


def random_batches(size: Size, masking: Masking) -> Iterator[MaskedBatch]:
    """Yields random sequences, in which a document ends after a third."""
    random = np.random.default_rng(0)
    vocabulary = Vocabulary(size.vocabulary, 4, 3, (0, 2, 3))
    while True:
        rows = random.integers(3, size.vocabulary, (size.batch, size.length)).astype(np.uint16)
        rows[:, size.length // 3] = rows[:, -1] = 3
        yield mask_batch(random, rows, vocabulary, masking)


def count(backbone: Backbone, size: Size, masking: Masking | None = None) -> Count:
    """Trains a model with new weights on the fake device, and counts waits and launches."""
    torch.manual_seed(0)
    config = EncoderConfig(size.vocabulary, size.width, size.heads, max_positions=size.length)
    recipe = Recipe(STEPS + 1, size.batch, 1e-4, precision="bf16")
    batches = random_batches(size, masking or Masking())
    with fake_device() as counts, torch.autograd.set_multithreading_enabled(False):
        model = MaskedLM(backbone, config).to(DEVICE)
        objective, optimizer = language_objective("bf16"), make_optimizer(model, recipe)

        def run(steps: range) -> None:
            counts.clear()
            train(model, batches, recipe, objective, optimizer=optimizer, steps=steps, seed=0)

        run(range(1))
        run(range(1, STEPS + 1))
        operations = {name: round(number / STEPS) for name, number in counts.launches.most_common()}
        return Count(
            counts.waits.total() / STEPS,
            round(counts.launches.total() / STEPS),
            dict(counts.waits),
            operations,
        )


def cases(layers: int) -> dict[str, tuple[Backbone, Masking]]:
    """The models and maskings to count, by name; the top-level figures are those of the first."""
    zero = zoo.autobert_zero_base().layers
    kernels = ("conv 9", "conv 7", "conv 3", "conv 9")
    return {
        "bert": (zoo.bert(layers), Masking()),
        "hybrid": (zoo.hybrid(layers), Masking()),
        "autobert_zero": (Backbone((*zero[:2], *zero[-2:])[:layers]), Masking()),
        "convolutions": (Backbone.parse("\n".join(kernels[:layers])), Masking()),
        "bert_isolated": (zoo.bert(layers), Masking(isolated=True)),
    }


def main() -> None:
    """Counts all cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny models")
    quick = parser.parse_args().quick
    size = TINY if quick else Size()
    results: dict[str, Count] = {}
    for name, (backbone, masking) in cases(2 if quick else 4).items():
        results[name] = count(backbone, size, masking)
        print(f"{name}: {results[name].waits:g} waits, {results[name].launches} launches a step", flush=True)
    bert = results["bert"]
    headline: dict[str, Any] = {"waits": bert.waits, "launches": bert.launches, "size": asdict(size)}
    print(json.dumps({**headline, "cases": {name: asdict(result) for name, result in results.items()}}))


if __name__ == "__main__":
    main()
