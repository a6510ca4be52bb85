"""Forgetting of a model that is continued on other text, with and without its own embeddings as a goal.

    python benchmarks/continuing.py --corpus BOOKS --stsb GLUE/stsb --out DIR [--teacher DIR]
        [--steps 300] [--rate 1e-4] [--quick]

The model is all-MiniLM-L6-v2, or `--teacher`. It is continued twice on the corpus, on the same batches: by
masked tokens alone (`masked`), and by masked tokens while it stays close to the embeddings that it had before
(`masked_and_own`: `autobert-zero distil --teacher M --start M --set distil.masked=1`). Both are measured
before and after: loss of masked tokens on held-out text of the corpus, and Spearman's correlation on STS-B.
MiniLM comes without a head that predicts masked tokens; both begin with the same new one.

`--quick` takes minutes and needs no package or data: a tiny model with random weights, the embedded corpus
and made-up pairs, which show that every part runs, and nothing about forgetting.

Prints one JSON object as its last line: `before`, `masked` and `masked_and_own`, each with `masked_loss` and
`spearman`.
"""

import argparse
from pathlib import Path
from typing import Any

from minilm import find_teacher, finish, say, score, similar_pairs, tiny_teacher, train
from result_store import ResultStore

_STILL = 1e-12
"""A learning rate that changes nothing: what is measured after a step of it is what was there before."""


def main() -> None:
    """Runs the benchmark and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--corpus", default="kjv", help="as pretrain takes it")
    parser.add_argument("--stsb", type=Path, help="folder with STS-B's test.jsonl")
    parser.add_argument("--out", type=Path, help="folder where all is kept; a temporary one with --quick")
    parser.add_argument("--teacher", help="folder of a model; default: that of the installed package")
    parser.add_argument("--steps", type=int, default=300, help="of 16 x 128 tokens")
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate")
    parser.add_argument("--quick", action="store_true", help="minutes, without a package or data")
    finish(parser, parser.parse_args(), ("stsb", "out"), run)


def run(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Runs the trainings whose results are missing, and returns all figures."""
    steps = 10 if options.quick else options.steps
    settings = {"benchmark": "continuing", "steps": steps, "rate": options.rate, "corpus": options.corpus}
    store = ResultStore(out / "results", settings | {"teacher": options.teacher, "quick": options.quick})
    tiny = options.quick and not options.teacher
    start = tiny_teacher(out / "teacher") if tiny else find_teacher(options.teacher)
    pairs = similar_pairs(options.stsb)

    def continued(name: str, count: int, rate: float, teacher: str | None, *more: str) -> None:
        if name in store:
            return
        changes = (
            f"phases=[{{steps: {count}, length: 128, batch_size: 16}}]",
            f"recipe.learning_rate={rate}",
            "data.isolated=true",
            "report.evaluated_sequences=128",
            f"report.checkpoint_every={max(count // 4, 1)}",
            *more,
        )
        folder = out / name
        summary = train(folder, start=start, corpus=options.corpus, seed=0, settings=changes, teacher=teacher)
        loss = summary["holdout_loss" if teacher is None else "holdout_masked_loss"]
        store[name] = {"masked_loss": round(loss, 4), "spearman": round(score(folder, pairs), 2)}
        say(f"{name}: {store[name]}")

    continued("before", 1, _STILL, None)
    continued("masked", steps, options.rate, None)
    continued("masked_and_own", steps, options.rate, start, "distil.masked=1")
    return {
        "benchmark": "continuing",
        "quick": options.quick,
        "task": f"{pairs.name} {pairs.split}",
        "tokens": steps * 16 * 128,
        **{name: store[name] for name in ("before", "masked", "masked_and_own")},
    }


if __name__ == "__main__":
    main()
