"""Do searched backbones beat everything built by hand, at equal tokens and at equal time?

    python benchmarks/proof.py --corpus TEXT --out OUT (--runs RUN ... | --searches 5) [--blimp BLIMP]
        [--glue GLUE] [--wnut WNUT17] [--tokens 30e6] [--width 128] [--seeds 5] [--workers 1] [--quick]

The winner of each search (of the preset `small`; finished runs, or --searches of its own in OUT/searches) is
trained from scratch, as are the opponents of a search with as many parameters, and ModernBERT, DeBERTa-v2,
ConvBERT and NomicBERT of `transformers` at its depth and width. Each tries three learning rates on a tenth of
the tokens and keeps its best, a constant rate with a short decay branch at each mark (see `horizon.py`). All
are trained with the first seed, the winner and the three opponents with the lowest validation loss with every
seed. A seed gives the same batches and masks to all, and belongs to the next search's winner, whose number of
parameters and training time its opponents get. Speeds are measured one after the other at the beginning, so
start the script while nothing else runs.
Everything is kept in OUT: the same call continues where it was stopped; missing and damaged files are made
again; a folder of other data, another trunk or other versions is refused.
Prints one JSON object as its last line: `loss_gap_equal_tokens` and `loss_gap_equal_time` in nats and
`blimp_gap` in points, of the winner over the strongest opponent (positive: the winner is better), each with
`_low` and `_high` of a 95 % interval over paired seeds with Holm's correction over the opponents, and
`_opponent`; under `gaps` all opponents; under `rows`, for each model, losses, speed, minimal pairs by
phenomenon, the mean token uniformity of the layers at equal loss, and with --glue, for those with all seeds,
the tasks that the first seed's model was fine-tuned on.
`--quick` trains tiny models of two seeds for 160 steps, without rates, for found backbones of earlier
searches: it shows that everything runs and continues, and nothing of who is better.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from backbones_on_glue import TASKS
from result_store import resumable
from truth.backbones import FOUND, check_depths
from truth.contest import FOUND_NAME, Proof
from truth.gaps import at_equal_loss, gaps
from truth.table import QUICK

from autobert_zero.cli.backbones import find_backbone
from autobert_zero.errors import UserError
from autobert_zero.progress import Bars, log_console, quiet_transformers
from autobert_zero.search.presets import PRESETS
from autobert_zero.search.progress import RunProgress
from autobert_zero.search_runs.prepare import prepare
from autobert_zero.search_runs.run import run_search
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone

QUICK_LENGTH = {"data": {"length": 128}, "proxy": {"batch_size": 2}, "final": {"batch_size": 2}}
"""Tasks have texts of up to 128 tokens."""


def main() -> None:
    """Searches, trains and measures what is missing, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--corpus", default="kjv", help="as search takes it")
    parser.add_argument("--out", type=Path, help="default: runs/proof, with --quick runs/proof-quick")
    winners = parser.add_mutually_exclusive_group()
    winners.add_argument("--runs", nargs="+", help="finished searches, or files with backbones")
    winners.add_argument("--searches", type=int, help="how many to run")
    parser.add_argument("--blimp", type=Path, help="minimal pairs; cannot be added to a folder later")
    parser.add_argument("--glue", type=Path, help="folder of tasks, as backbones_on_glue.py takes it")
    parser.add_argument("--wnut", type=Path, help="folder of WNUT-17")
    parser.add_argument("--tokens", type=float, default=30e6, help="of each training")
    parser.add_argument("--width", type=int, default=128, help="hidden size")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3, 4e-3], help="tried for each")
    parser.add_argument("--precision", default="auto", help="fp32 for results of several machines")
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds")
    parser.add_argument("--workers", type=int, default=1, help="trainings at once, one thread each")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 160 steps of tiny models")
    options = parser.parse_args()
    if options.quick:
        options.tokens, options.seeds, options.rates = 160 * 8 * 32, 2, options.rates[-1:]
    elif not (options.runs or options.searches):
        parser.error("name the searches with --runs, or let it search with --searches")
    if options.wnut and not options.glue:
        parser.error("--wnut is a task beside those of --glue: name that folder too")
    out = options.out or Path("runs/proof-quick" if options.quick else "runs/proof")
    quiet_transformers()
    changes: dict[str, Any] = {"precision": options.precision, "data": {"corpus": options.corpus}}
    preset = resolve(PRESETS["small"](), changes)
    with resumable():
        check_tasks(options.glue, options.wnut)
        if options.searches:
            sources = [str(searched(preset, out, seed)) for seed in range(options.searches)]
            found = [find_backbone(source) for source in sources]
        elif options.runs:
            found = [find_backbone(source) for source in options.runs]
        else:
            found = [Backbone.from_list(layers) for layers in FOUND]
        check_depths(found, len(found[0].layers))
        with Bars(log_console()) as progress:
            wide = {"model": {"width": options.width, "layers": len(found[0].layers)}}
            config = resolve(preset, wide, *((QUICK, QUICK_LENGTH) if options.quick else ()))
            prepared = prepare(config, progress.update)
            proof = Proof(prepared, out, options, found, progress)
            printed = figures(proof)
    print(json.dumps(printed))


def check_tasks(glue: Path | None, wnut: Path | None) -> None:
    """Checks that the folders of all tasks exist, before hours of training.

    Raises:
        UserError: A folder is missing.
    """
    folders = [] if glue is None else [glue / task for task in TASKS]
    for needed in (*folders, *(() if wnut is None else (wnut,))):
        if not needed.is_dir():
            raise UserError(f"there is no folder {needed}")


def searched(preset: Any, out: Path, seed: int) -> Path:
    """The folder of a search, which is run if it is not finished. It trains finalists, and no opponents."""
    run = out / "searches" / f"seed{seed}"
    if not (run / "best.txt").exists():
        config = resolve(preset, {"seed": seed, "final": {"steps": 1, "rates": [], "equal_time": False}})
        with RunProgress(log_console()) as progress:
            run_search(config, run, progress)
    return run


def figures(proof: Proof) -> dict[str, Any]:
    """The figures to print."""
    rows = proof.measurements()

    def figure(name: str, seed: int, kind: str) -> float | None:
        """A figure, the higher the better; None where the training diverged or it was not measured."""
        mark = proof.equal_time(name, seed) if kind == "equal_time" else proof.steps
        reading = rows[name][seed][mark]
        if kind == "blimp":
            return 100 * reading["minimal_pairs"]["all"] if "minimal_pairs" in reading else None
        loss = reading.get("val_loss")
        return None if loss is None else -loss

    printed: dict[str, Any] = {}
    all_gaps: dict[str, Any] = {}
    for kind, key in (
        ("equal_tokens", "loss_gap_equal_tokens"),
        ("equal_time", "loss_gap_equal_time"),
        ("blimp", "blimp_gap"),
    ):
        values = {
            name: {seed: value for seed in seeds if (value := figure(name, seed, kind)) is not None}
            for name, seeds in rows.items()
        }
        own = values.pop(FOUND_NAME)
        kind_gaps = gaps(
            {
                name: [own[seed] - value for seed, value in by_seed.items() if seed in own]
                for name, by_seed in values.items()
            }
        )
        all_gaps[key] = {name: asdict(gap) for name, gap in kind_gaps.items()}
        seeds = max((gap.seeds for gap in kind_gaps.values()), default=0)
        # The strongest opponent is the one with the smallest gap.
        strongest = min(
            (name for name, gap in kind_gaps.items() if gap.seeds == seeds),
            key=lambda name: kind_gaps[name].mean,
            default=None,
        )
        gap = None if strongest is None else kind_gaps[strongest]
        printed[key] = gap and gap.mean
        printed |= {f"{key}_low": gap and gap.low, f"{key}_high": gap and gap.high}
        printed[f"{key}_opponent"] = strongest
    return {
        "benchmark": "proof",
        "quick": proof.options.quick,
        "corpus": Path(proof.options.corpus).name,
        "tokens": proof.steps * proof.setup.batch_size * proof.prepared.config.data.length,
        "seeds": proof.options.seeds,
        **printed,
        "gaps": all_gaps,
        "found": [contestants[FOUND_NAME].about["backbone"] for contestants in proof.rounds],
        "rows": model_rows(proof, rows),
    }


def model_rows(proof: Proof, rows: Mapping[str, dict[int, Any]]) -> dict[str, Any]:
    """The figures of each model by seed; parameters and speed are those of the first seed."""
    curves = [_uniformity(marks) for seeds in rows.values() for marks in seeds.values()]
    worst = max((min(loss for loss, _ in curve) for curve in curves if curve), default=0.0)
    printed: dict[str, Any] = {}
    for name, seeds in rows.items():
        last = {seed: reading[proof.steps] for seed, reading in seeds.items()}
        time = {seed: reading[proof.equal_time(name, seed)] for seed, reading in seeds.items()}
        model = proof.contestant(name, 0)
        printed[name] = {
            "parameters": sum(weight.numel() for weight in model.build().parameters()),
            "tokens_per_second": round(proof.speeds[model.name]),
            "losses": {seed: reading.get("val_loss") for seed, reading in last.items()},
            "losses_equal_time": {seed: reading.get("val_loss") for seed, reading in time.items()},
            "blimp": {seed: reading.get("minimal_pairs") for seed, reading in last.items()},
            "uniformity_at_loss": {
                "loss": worst,
                **{str(seed): at_equal_loss(_uniformity(marks), worst) for seed, marks in seeds.items()},
            },
            "tasks": proof.fine_tuned(name) if len(seeds) == proof.options.seeds else None,
        }
    return printed


def _uniformity(readings: Mapping[int, dict[str, Any]]) -> list[tuple[float, float]]:
    """Loss and mean token uniformity of the layers at each mark; empty for models of `transformers`."""
    return [
        (reading["val_loss"], fmean(reading["uniformity"][1:]))
        for reading in readings.values()
        if "uniformity" in reading
    ]


if __name__ == "__main__":
    main()
