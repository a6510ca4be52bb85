"""Which backbones leave the plateau of unigram statistics: positions, norms and gates at equal tokens.

    python benchmarks/plateau.py [--corpus BOOKS] [--seeds 3] [--workers 2] [--out DIR] [--quick]

Trains stacks of 4 layers of width 128 from scratch, 2,000 steps of 16 x 128 tokens (4.1 M), at a rate of
2e-3 that falls to 0, with vocabulary 8,192 and without short sequences: BERT as published (post-norm, GELU,
learned positions), and in the modern trunk (pre-norm, GeGLU, no position table) rotary attention,
convolutions that alternate with it, gated rotary attention, and two gated convolutions to each rotary
attention. With a seed, all of them see the same batches. The default is the embedded corpus; the figures in
the documentation are from 60 MB of books. Prints one JSON object as its last line: the mean held-out losses,
and under `runs` each loss, with the number of weights. `--quick` takes 200 steps of one seed, in which most
do not leave the plateau: it shows that everything runs and says nothing about the order.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from result_store import ResultStore

from autobert_zero.errors import UserError
from autobert_zero.search.comparison import Model
from autobert_zero.search.config import SearchConfig
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone
from autobert_zero.training.loop import Recipe
from autobert_zero.training.scratch import Job, JobResult, default_workers, train_all
from autobert_zero.zoo import bert, gated_convolution, rotary, rotary_hybrid
from autobert_zero.zoo.layers import GATED_ROTARY
from autobert_zero.zoo.trunks import BERT_TRUNK, MODERN_TRUNK

LAYERS, WIDTH, BATCH, STEPS, RATE = 4, 128, 16, 2000, 2e-3
STACKS: dict[str, tuple[Backbone, dict[str, Any]]] = {
    "bert": (bert(LAYERS), BERT_TRUNK),
    "rotary": (rotary(LAYERS), MODERN_TRUNK),
    "hybrid_rotary": (rotary_hybrid(LAYERS), MODERN_TRUNK),
    "gated_rotary": (Backbone.from_list([GATED_ROTARY] * LAYERS), MODERN_TRUNK),
    "gated_convolution": (gated_convolution(LAYERS), MODERN_TRUNK),
}


def main() -> None:
    """Trains all stacks and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", default="kjv", help="as search takes it")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--workers", type=int, default=0, help="models trained at once; 0: one per core")
    parser.add_argument("--out", type=Path, help="folder where results are kept; a temporary one if left out")
    parser.add_argument("--quick", action="store_true", help="200 steps of one seed")
    options = parser.parse_args()
    steps, seeds = (200, 1) if options.quick else (STEPS, options.seeds)

    config = resolve(SearchConfig(), {"data": {"corpus": options.corpus, "vocab_size": 8192}})
    prepared = prepare(config)
    corpus = Path(options.corpus).name
    with TemporaryDirectory() as temporary:
        settings = {
            "benchmark": "plateau",
            "corpus": corpus,
            "text": prepared.corpus.identity,
            "steps": steps,
        }
        try:
            store = ResultStore(options.out or Path(temporary), settings)
        except UserError as error:
            parser.error(str(error))
        models = train_missing(prepared, store, steps, seeds, options.workers)
        figures: dict[str, Any] = {
            "benchmark": "plateau",
            "quick": options.quick,
            "corpus": corpus,
            "tokens": steps * BATCH * config.data.length,
        }
        runs = {}
        for name, model in models.items():
            losses = [store[f"{name}-seed{seed}"]["val_loss"] for seed in range(seeds)]
            finite = [loss for loss in losses if loss is not None]
            figures[name] = round(fmean(finite), 4) if finite else None
            runs[name] = {
                "losses": losses,
                "deviation": round(stdev(finite), 4) if len(finite) > 1 else None,
                "parameters": model.parameters,
            }
    print(json.dumps({**figures, "runs": runs}))


def train_missing(
    prepared: PreparedSearch, store: ResultStore, steps: int, seeds: int, workers: int
) -> dict[str, Model]:
    """Trains the models whose results are missing; returns all models by name."""
    config = prepared.config
    models = {}
    for name, (backbone, trunk) in STACKS.items():
        sizes = resolve(config, {"model": {"width": WIDTH, **trunk}}).model
        models[name] = Model(backbone, sizes.encoder_config(prepared.vocabulary.size, config.data.length))
    jobs = [
        Job(
            name=f"{name}-seed{seed}",
            backbone=model.backbone,
            model=model.sizes,
            data=prepared.data,
            vocabulary=prepared.vocabulary,
            recipe=Recipe(steps, BATCH, RATE),
            seed=seed,
            device=str(prepared.device),
        )
        for seed in range(seeds)
        for name, model in models.items()
        if f"{name}-seed{seed}" not in store
    ]

    def keep(result: JobResult) -> None:
        store[result.name] = result.to_dict() | {"curve": result.curve}
        loss = result.reason if result.val_loss is None else f"{result.val_loss:.4f}"
        print(f"{result.name}: {loss}, {result.seconds:.0f} s", file=sys.stderr, flush=True)

    if jobs:
        train_all(jobs, workers or default_workers(prepared.device), lambda *progress: None, keep)
    return models


if __name__ == "__main__":
    main()
