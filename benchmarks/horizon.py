"""The table of truth, and the proxy that predicts it best: losses at up to ten times a proxy's tokens.

    python benchmarks/horizon.py --corpus TEXT --out OUT [--blimp BLIMP] [--tokens 30e6] [--width 64]
        [--backbones 24] [--found RUN ...] [--workers 1] [--judge] [--quick]

Backbones of 4 layers of the modern space, known, found, random and mutated ones, with 0 to 4 attentions that
see all tokens, are trained from scratch at a constant rate; at 1, 3, 10, 30 ... M tokens, as far as --tokens
goes, a copy of each takes a short decay branch and is measured: held-out loss and token uniformity, at the
last mark also the accuracy on 6,700 minimal pairs of BLIMP. Half of the backbones have a second seed. All
reach one mark before the first continues to the next. OUT/truth holds one file per training and their
checkpoints: the same call, also one with more --tokens or --backbones, continues where it was stopped;
missing and damaged files are made again; a folder of other data, another trunk or other versions is refused.
Then the losses at the last mark judge the proxies, each of which spends a tenth of the tokens on a backbone
(OUT/proxies-STEPS): shared weights warmed up with convolutions, with all kinds of layers, shared by role, and
re-calibrated; training from scratch, with successive halving, and extrapolated by E + A D^-a; minimal pairs
instead of the loss; zero-cost proxies. `--judge` trains no truth and judges at the last mark that all have.
Prints one JSON object as its last line: for the proxy that agrees best on half of the backbones,
`kendall_tau`, `kendall_tau_within` (pairs with equally many attentions that see all tokens), and
`seconds_per_candidate`, on the other half; `noise_ceiling`, the tau of two seeds of the truth; under `ways`
all proxies. On a CPU, seconds are of processor time. `--quick` trains tiny models for 160 steps, most of
which end on the plateau of unigram statistics: it shows that everything runs and continues, and nothing of
the order.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from result_store import ResultStore, resumable
from truth.backbones import TableBackbone, choose_backbones
from truth.branched_training import train_all
from truth.proxies import SEED, SHARING, score_with_shared_weights, scores_from_scratch, zero_cost_proxies
from truth.proxy_agreement import ProxyScores, agreement, as_score, choose_proxy
from truth.table import QUICK, Table

from autobert_zero.cli.backbones import find_backbone
from autobert_zero.progress import Bars, log_console
from autobert_zero.run_folder.digests import text_digest
from autobert_zero.search.comparison import Model
from autobert_zero.search.presets import PRESETS
from autobert_zero.search_runs.prepare import prepare
from autobert_zero.settings import resolve


def main() -> None:
    """Trains what is missing, judges the proxies, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--corpus", default="kjv", help="as search takes it")
    parser.add_argument("--out", type=Path, help="default: runs/horizon, with --quick runs/horizon-quick")
    parser.add_argument("--blimp", type=Path, help="minimal pairs; cannot be added to a folder later")
    parser.add_argument("--tokens", type=float, default=30e6, help="of the last mark")
    parser.add_argument("--width", type=int, default=64, help="hidden size")
    parser.add_argument("--rate", type=float, default=3e-3, help="constant learning rate of all trainings")
    parser.add_argument("--precision", default="auto", help="fp32 for a table made on several machines")
    parser.add_argument("--backbones", type=int, default=24, help="how many")
    parser.add_argument("--found", nargs="*", default=[], help="searches whose winners are in the table too")
    parser.add_argument("--workers", type=int, default=1, help="trainings at once, one thread each")
    parser.add_argument("--judge", action="store_true", help="train no truth")
    parser.add_argument("--quick", action="store_true", help="8 tiny backbones, 160 steps")
    options = parser.parse_args()
    if options.backbones < 2:
        parser.error("--backbones must be at least 2: half of them choose a proxy, the others confirm it")
    if options.quick:
        options.backbones, options.tokens = 8, 160 * 8 * 32
    changes: dict[str, Any] = {
        "precision": options.precision,
        "data": {"corpus": options.corpus},
        "model": {"width": options.width},
        "proxy": {"learning_rate": options.rate},
    }
    out = options.out or Path("runs/horizon-quick" if options.quick else "runs/horizon")
    with resumable(), Bars(log_console()) as progress:
        config = resolve(PRESETS["small"](), changes, QUICK if options.quick else {})
        prepared = prepare(config, progress.update)
        found = [find_backbone(source) for source in options.found]
        table = Table("horizon", prepared, out, options.blimp, options.quick)
        chosen = choose_backbones(prepared.space, options.backbones, found)
        marks = table.marks(options.tokens)
        if options.judge:
            truth = table.stored(chosen, marks)
        else:
            truth = table.train(chosen, marks, options.workers, progress)
        results = figures(table, chosen, truth, options.workers, progress)
    print(
        json.dumps(
            {
                "benchmark": "horizon",
                "quick": options.quick,
                "corpus": Path(options.corpus).name,
                "width": config.model.width,
                **results,
            }
        )
    )


def figures(
    table: Table,
    chosen: Sequence[TableBackbone],
    truth: dict[str, dict[int, dict[str, Any]]],
    workers: int,
    progress: Bars,
) -> dict[str, Any]:
    """The figures to print: agreement of the chosen proxy and of all, noise ceiling, and the table."""
    keys = [entry.backbone.key() for entry in chosen]
    groups = [entry.attentions for entry in chosen]
    last = max(truth[f"{keys[0]}-seed0"])
    horizon = truth[f"{keys[0]}-seed0"][last]["tokens"]
    scores = [as_score(truth[f"{key}-seed0"][last].get("val_loss")) for key in keys]
    twice = [index for index, key in enumerate(keys) if f"{key}-seed1" in truth]
    ceiling = agreement(
        [as_score(truth[f"{keys[index]}-seed1"][last].get("val_loss")) for index in twice],
        [scores[index] for index in twice],
        [groups[index] for index in twice],
    )
    proxies = proxy_scores(table, chosen, max(last // 10, 8), horizon, workers, progress)
    speeds = table.speeds(chosen)
    return {
        "tokens": horizon,
        **choose_proxy(proxies, scores, groups),
        "noise_ceiling": ceiling["kendall_tau"],
        "noise_ceiling_figures": {"backbones": len(twice), **ceiling},
        "table": [
            {
                "key": key,
                "origin": entry.origin,
                "backbone": entry.backbone.to_list(),
                "attentions": entry.attentions,
                "parameters": Model(entry.backbone, table.prepared.model).parameters,
                "tokens_per_second": speeds[key],
                **{
                    f"seed{seed}": {str(mark["tokens"]): _mark_figures(mark) for mark in row.values()}
                    for seed in (0, 1)
                    if (row := truth.get(f"{key}-seed{seed}"))
                },
            }
            for key, entry in zip(keys, chosen, strict=True)
        ],
    }


def proxy_scores(
    table: Table,
    chosen: Sequence[TableBackbone],
    steps: int,
    horizon: float,
    workers: int,
    progress: Bars,
) -> dict[str, ProxyScores]:
    """The scores of all proxies, each with the given number of steps per backbone, stored one by one."""
    backbones = [entry.backbone for entry in chosen]
    store = ResultStore(table.out / f"proxies-{steps}", table.settings | {"steps": steps, "seed": SEED})
    rungs = tuple(sorted({max(steps // part, 2) for part in (8, 4, 2, 1)}))
    setup = replace(table.setup, evaluated=table.prepared.config.proxy.validation_sequences)
    trainings = table.trainings(chosen, SEED, rungs)
    measured = train_all(trainings, setup, store, workers, progress)
    by_backbone = [measured[training.name] for training in trainings]
    proxies = scores_from_scratch(by_backbone, [entry.attentions for entry in chosen], horizon)
    digest = text_digest(" ".join(backbone.key() for backbone in backbones))[:8]
    makers = {
        name: partial(score_with_shared_weights, sharing, table.prepared, backbones, steps, progress)
        for name, sharing in SHARING.items()
    } | zero_cost_proxies(table.prepared, backbones)
    for name, make in makers.items():
        file = f"{name.replace(': ', '-').replace(', ', '-').replace(' ', '-')}-{digest}"
        row = store.get(file)
        if row is None:
            progress.say(f"proxy {name}")
            scores = make()
            row = store[file] = {"values": list(scores.values), "seconds": scores.seconds}
        proxies[name] = ProxyScores(tuple(row["values"]), row["seconds"])
    return proxies


def _mark_figures(measured: dict[str, Any]) -> dict[str, Any]:
    pairs = measured.get("minimal_pairs")
    return {"loss": measured.get("val_loss"), **({"minimal_pairs": pairs["all"]} if pairs else {})}


if __name__ == "__main__":
    main()
