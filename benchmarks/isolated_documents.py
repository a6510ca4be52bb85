"""What it costs to keep the documents of a packed sequence apart.

    python benchmarks/isolated_documents.py [--quick]

Trains BERT, the hand-made hybrid and convolutions only (4 layers, width 128) on the embedded corpus, whose
documents are verses of some 30 tokens, in sequences of 128 and 512 tokens, with `data.isolated` and without,
in turns. A ratio is the median over the rounds of the time with over the time without. Prints one JSON
object as its last line.
"""

import argparse
import json
import sys
from statistics import median
from typing import Any

from autobert_zero.pretrain.model import new_model
from autobert_zero.pretrain.presets import demo_pretraining
from autobert_zero.pretrain.text import open_text
from autobert_zero.pretrain.training import recipe_of
from autobert_zero.settings import resolve
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import make_optimizer, train
from autobert_zero.zoo import STACKS

TOKENS = 4096
"""In a batch."""


def main() -> None:
    """Runs all cases and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 4 steps instead of 5 of 8")
    quick = parser.parse_args().quick
    rounds, steps = (2, 4) if quick else (5, 8)
    result: dict[str, Any] = {"benchmark": "isolated_documents", "quick": quick, "cost": {}}
    for length in (128, 512):
        for name in ("bert", "hybrid", "convolution"):
            seconds: dict[bool, list[float]] = {False: [], True: []}
            runs = {}
            for isolated in seconds:
                config = resolve(
                    demo_pretraining(STACKS[name](4)),
                    {
                        "model": {"width": 128},
                        "data": {"isolated": isolated},
                        "phases": [{"steps": 1000, "length": length, "batch_size": TOKENS // length}],
                    },
                )
                text = open_text(config, lambda *progress: None)
                model = new_model(config, text.vocabulary.size)
                recipe = recipe_of(config)
                runs[isolated] = (
                    *(model, text.phases[0].train.batches_from(0), recipe, make_optimizer(model, recipe)),
                )
            for round_ in range(rounds + 1):
                for isolated, (model, batches, recipe, optimizer) in runs.items():
                    duration = train(
                        model,
                        batches,
                        recipe,
                        language_objective("auto"),
                        optimizer=optimizer,
                        steps=range(round_ * steps, (round_ + 1) * steps),
                    )
                    if round_:  # the one before prepares what the rest use
                        seconds[isolated].append(duration)
            ratio = median(a / b for a, b in zip(seconds[True], seconds[False], strict=True))
            result["cost"][f"{name}, {length} tokens"] = round(ratio, 3)
            print(f"{name}, {length} tokens: {ratio:.2f} times the time", file=sys.stderr, flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
