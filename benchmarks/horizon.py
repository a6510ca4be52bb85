"""The table of truth, and which proxy foresees it: losses of backbones at up to ten times a proxy's tokens.

    python benchmarks/horizon.py --corpus TEXT --out OUT [--blimp BLIMP] [--tokens 30e6] [--width 64]
        [--backbones 24] [--found RUN ...] [--workers 1] [--judge] [--quick]

Backbones of 4 layers of the modern space, known, found, random and mutated ones, with 0 to 4 attentions that
see all tokens, are trained from scratch at a constant rate; at 1, 3, 10, 30 ... M tokens, as far as --tokens
goes, a copy of each takes a short decay branch and is measured: held-out loss and token uniformity, at the
last mark also the accuracy on 6,700 minimal pairs of BLIMP. Half of the backbones have a second seed. All go
to one mark before the first goes to the next. OUT/truth holds one file per training and their checkpoints:
the same call continues where it was stopped, also one with more --tokens or --backbones; a file that is
missing or half-written is trained again; a folder of other data, another trunk or other versions is refused.
Then each proxy, with a tenth of the tokens for each backbone (OUT/proxies-TOKENS), is judged by the losses at
the last mark: shared weights warmed up with convolutions, with all kinds of layers, shared by role, and
re-calibrated; training from scratch with rungs that continue, halved, and fitted by E + A D^-a; minimal pairs
instead of the loss; zero-cost proxies. `--judge` trains no truth and judges at the last mark that all have.
Prints one JSON object as its last line: for the proxy that agrees best on half of the backbones,
`kendall_tau`, `kendall_tau_within` (pairs with equally many attentions that see all tokens), and
`seconds_per_candidate`, on the other half; `noise_ceiling`, the tau of two seeds of the truth; all `ways`.
Seconds are of processor time on a CPU. `--quick` trains tiny models for 160 steps, most of which are on the
plateau of unigram statistics: it shows that everything runs and continues, and nothing of the order.
The file is long because one call runs all of its parts.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from result_store import ResultStore, resumable
from truth.backbones import Chosen, choose
from truth.judging import Scores, agreement, as_score, compare, halves
from truth.ladder import Ladder, Measures, climb_all
from truth.ways import SEED, SHARING, cheap_ways, from_scratch, shared

from autobert_zero.cli.backbones import find_backbone
from autobert_zero.errors import UserError
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.minimal_pairs.data import read_pairs, subset
from autobert_zero.minimal_pairs.measure import TokenisedPairs
from autobert_zero.nn import MaskedLM
from autobert_zero.progress import Bars, log_console
from autobert_zero.provenance import versions
from autobert_zero.run_folder.digests import digest_of, text_digest
from autobert_zero.search.comparison import Model
from autobert_zero.search.presets import PRESETS
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.settings import resolve
from autobert_zero.training.precision import resolve_precision
from autobert_zero.training.speed import training_speed

MARKS = (1e6, 3e6, 10e6, 30e6, 100e6)
EVALUATED, PAIRS = 2048, 6700
VERSIONS = ("autobert-zero", "torch", "numpy", "tokenizers")
QUICK = {
    "data": {"vocab_size": 512, "length": 32},
    "model": {"width": 32},
    "proxy": {"batch_size": 8, "validation_sequences": 32},
    "final": {"batch_size": 8},
}


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
        chosen = choose(prepared.space, options.backbones, found)
        marks = table.marks(options.tokens)
        truth = table.known(chosen, marks) if options.judge else table.train(chosen, marks, options, progress)
        judged = table.judged(chosen, truth, options, progress)
    print(
        json.dumps(
            {
                "benchmark": "horizon",
                "quick": options.quick,
                "corpus": options.corpus.rstrip("/").rsplit("/", 1)[-1],
                "width": config.model.width,
                **judged,
            }
        )
    )


class Table:
    """The truth folder.

    Args:
        benchmark: Whose it is.
        prepared: Data and sizes.
        out: Where everything is kept.
        blimp: Minimal pairs.
        quick: Measures on less.

    Raises:
        UserError: The folder holds results of other settings.
    """

    def __init__(
        self, benchmark: str, prepared: PreparedSearch, out: Path, blimp: Path | None, quick: bool = False
    ) -> None:
        evaluated, limit = (64, 134) if quick else (EVALUATED, PAIRS)
        config = prepared.config
        self.prepared, self.out = prepared, out
        pairs = None
        if blimp is not None:
            tokenizer = wrap_tokenizer(prepared.tokenizer, prepared.model.length_limit)
            read = subset(read_pairs([blimp]), limit)
            pairs = TokenisedPairs(read, tokenizer, prepared.model.length_limit)
        precision = resolve_precision(config.precision, prepared.device)
        self.measures = Measures(
            prepared.data,
            prepared.vocabulary,
            str(prepared.device),
            precision,
            config.proxy.batch_size,
            evaluated,
            pairs,
        )
        used = versions()
        self.settings = {
            "benchmark": benchmark,
            "text": prepared.corpus.identity,
            **config.model.model_dump(),
            "vocab_size": prepared.vocabulary.size,
            "length": config.data.length,
            "batch_size": config.proxy.batch_size,
            "rate": config.proxy.learning_rate,
            "precision": precision,
            "evaluated": evaluated,
            "pairs": None if blimp is None else _digest(blimp),
            **{name: used.get(name) for name in VERSIONS},
        }
        self.store = ResultStore(out / "truth", self.settings)

    def marks(self, tokens: float) -> tuple[int, ...]:
        """Steps of the marks up to a number of tokens, which is the last."""
        per_step = self.measures.batch_size * self.prepared.config.data.length
        return tuple(max(round(mark / per_step), 8) for mark in (*(m for m in MARKS if m < tokens), tokens))

    def ladders(self, chosen: Sequence[Chosen], seed: int, marks: tuple[int, ...]) -> list[Ladder]:
        """The trainings of backbones from a seed."""
        sizes = self.prepared.model
        return [
            Ladder(
                f"{each.backbone.key()}-seed{seed}",
                partial(MaskedLM, each.backbone, sizes),
                {"origin": each.origin, "backbone": each.backbone.to_list(), "attentions": each.attentions},
                seed,
                self.prepared.config.proxy.learning_rate,
                marks,
                marks[-1],
            )
            for each in chosen
        ]

    def train(
        self, chosen: Sequence[Chosen], marks: tuple[int, ...], options: argparse.Namespace, progress: Bars
    ) -> dict[str, dict[int, dict[str, Any]]]:
        """Trains what is missing of the table; readings by training and mark."""
        twice = [chosen[place] for place in halves([each.attentions for each in chosen])[0]]
        ladders = [*self.ladders(chosen, 0, marks), *self.ladders(twice, 1, marks)]
        return climb_all(ladders, self.measures, self.store, options.workers, progress)

    def known(self, chosen: Sequence[Chosen], marks: tuple[int, ...]) -> dict[str, dict[int, dict[str, Any]]]:
        """What there is at the marks that all backbones have been trained to.

        Raises:
            UserError: There is no such mark.
        """
        rows = {}
        for each in chosen:
            for seed in (0, 1):
                name = f"{each.backbone.key()}-seed{seed}"
                marked = (self.store.get(name) or {}).get("marks", {})
                rows[name] = {mark: marked[str(mark)] for mark in marks if str(mark) in marked}
        first = [rows[f"{each.backbone.key()}-seed0"] for each in chosen]
        common = [mark for mark in marks if all(mark in row for row in first)]
        if not common:
            raise UserError(
                f"{self.store.folder} has no mark that all {len(chosen)} backbones were trained to"
            )
        return {name: {mark: row[mark] for mark in common} for name, row in rows.items() if common[-1] in row}

    def judged(
        self,
        chosen: Sequence[Chosen],
        truth: dict[str, dict[int, dict[str, Any]]],
        options: argparse.Namespace,
        progress: Bars,
    ) -> dict[str, Any]:
        """The figures: of the chosen proxy, the ceiling, all proxies, and the table itself."""
        keys = [each.backbone.key() for each in chosen]
        groups = [each.attentions for each in chosen]
        last = max(truth[f"{keys[0]}-seed0"])
        horizon = truth[f"{keys[0]}-seed0"][last]["tokens"]
        scores = [as_score(truth[f"{key}-seed0"][last].get("val_loss")) for key in keys]
        twice = [place for place, key in enumerate(keys) if f"{key}-seed1" in truth]
        ceiling = agreement(
            [as_score(truth[f"{keys[place]}-seed1"][last].get("val_loss")) for place in twice],
            [scores[place] for place in twice],
            [groups[place] for place in twice],
        )
        ways = self.ways(chosen, max(last // 10, 8), horizon, options, progress)
        speeds = self.speeds(chosen)
        return {
            "tokens": horizon,
            **compare(ways, scores, groups),
            "noise_ceiling": ceiling["kendall_tau"],
            "noise_ceiling_figures": {"backbones": len(twice), **ceiling},
            "table": [
                {
                    "key": key,
                    "origin": each.origin,
                    "backbone": each.backbone.to_list(),
                    "attentions": each.attentions,
                    "parameters": Model(each.backbone, self.prepared.model).parameters,
                    "tokens_per_second": speeds[key],
                    **{
                        f"seed{seed}": {str(reading["tokens"]): _figures(reading) for reading in row.values()}
                        for seed in (0, 1)
                        if (row := truth.get(f"{key}-seed{seed}"))
                    },
                }
                for key, each in zip(keys, chosen, strict=True)
            ],
        }

    def ways(
        self,
        chosen: Sequence[Chosen],
        steps: int,
        horizon: float,
        options: argparse.Namespace,
        progress: Bars,
    ) -> dict[str, Scores]:
        """What the proxies say, with a number of steps for each backbone; kept one by one."""
        backbones = [each.backbone for each in chosen]
        store = ResultStore(self.out / f"proxies-{steps}", self.settings | {"steps": steps, "seed": SEED})
        rungs = tuple(sorted({max(steps // part, 2) for part in (8, 4, 2, 1)}))
        measures = Measures(
            **{**vars(self.measures), "evaluated": self.prepared.config.proxy.validation_sequences}
        )
        ladders = self.ladders(chosen, SEED, rungs)
        readings = climb_all(ladders, measures, store, options.workers, progress)
        ways = from_scratch(
            [readings[ladder.name] for ladder in ladders], [each.attentions for each in chosen], horizon
        )
        digest = text_digest(" ".join(backbone.key() for backbone in backbones))[:8]
        makers = {
            name: partial(shared, way, self.prepared, backbones, steps, progress)
            for name, way in SHARING.items()
        } | cheap_ways(self.prepared, backbones)
        for name, make in makers.items():
            file = f"{name.replace(': ', '-').replace(', ', '-').replace(' ', '-')}-{digest}"
            row = store.get(file)
            if row is None:
                progress.say(f"proxy {name}")
                scores = make()
                row = store[file] = {"values": list(scores.values), "seconds": scores.seconds}
            ways[name] = Scores(tuple(row["values"]), row["seconds"])
        return ways

    def speeds(self, chosen: Sequence[Chosen]) -> dict[str, float]:
        """Tokens per second of training by key, all measured one after the other where one is missing."""
        known: dict[str, float] = self.store.get("speeds") or {}
        keys = {each.backbone.key(): each.backbone for each in chosen}
        if not keys.keys() <= known.keys():
            settings, measures = self.prepared, self.measures
            batch, length = measures.batch_size, settings.config.data.length
            known = known | {
                key: training_speed(
                    backbone, settings.model, batch, length, measures.precision, settings.device, 12
                ).tokens_per_second
                for key, backbone in keys.items()
            }
            self.store["speeds"] = known
        return {key: round(known[key]) for key in keys}


def _figures(reading: dict[str, Any]) -> dict[str, Any]:
    pairs = reading.get("minimal_pairs")
    return {"loss": reading.get("val_loss"), **({"minimal_pairs": pairs["all"]} if pairs else {})}


def _digest(blimp: Path) -> str:
    files = sorted(path for path in blimp.rglob("*") if path.is_file()) if blimp.is_dir() else [blimp]
    return digest_of(files)


if __name__ == "__main__":
    main()
