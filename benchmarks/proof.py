"""Do searched backbones beat everything built by hand, at equal tokens and at equal time?

    python benchmarks/proof.py --corpus TEXT --out OUT (--runs RUN ... | --searches 5) [--blimp BLIMP]
        [--glue GLUE] [--wnut WNUT17] [--tokens 30e6] [--width 128] [--seeds 5] [--workers 1] [--quick]

The winner of each search (of the preset `small`; finished runs, or --searches of its own in OUT/searches) is
trained from scratch beside the opponents of a search, brought to its number of weights, and ModernBERT,
DeBERTa-v2, ConvBERT and NomicBERT of `transformers` at its depth and width. Each tries three rates on a tenth
of the tokens and has its best: a constant one with a short decay branch for each mark (see `horizon.py`). All
are trained from one seed, then the winner and the three opponents with the lowest validation loss from the
others; with a seed come the same batches and masks for all, and the next search's winner, whose weights and
time its opponents have. Speeds are measured one after the other at the beginning: start it while nothing else
runs.
Everything is kept in OUT: the same call continues where it was stopped; a file that is missing or
half-written is made again, a folder of other data, another trunk or other versions is refused.
Prints one JSON object as its last line: `loss_gap_equal_tokens` and `loss_gap_equal_time` in nats and
`blimp_gap` in points, of the winner over the strongest opponent (positive: the winner is better), each with
`_low` and `_high` of a 95 % interval over paired seeds with Holm's correction over the opponents, and
`_opponent`; under `gaps` all opponents; under `rows`, for each model, losses, speed, minimal pairs by
phenomenon, the mean token uniformity of the layers at equal loss, and with --glue, for those with all seeds,
the tasks that the first seed's model was fine-tuned on.
`--quick` trains tiny models of two seeds for 160 steps, without rates, for found backbones of earlier
searches: it shows that everything runs and continues, and nothing of who is better.
The file is long because one call runs all of its parts.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import Any

from backbones_on_glue import TASKS, Study, figures, folder, scored
from peers import Peer, build_peer, peers, speed
from result_store import resumable
from tokenizers import Tokenizer
from torch import nn
from truth.backbones import FOUND, check_depths
from truth.branched_training import BranchedTraining, train_all
from truth.gaps import at_equal_loss, gaps
from truth.table import QUICK, Table

from autobert_zero.cli.backbones import find_backbone
from autobert_zero.errors import UserError
from autobert_zero.hf import from_masked_lm
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.nn import MaskedLM
from autobert_zero.progress import Bars, log_console, quiet_transformers
from autobert_zero.search.comparison import Model, best_rate, with_parameters
from autobert_zero.search.presets import PRESETS
from autobert_zero.search.progress import RunProgress
from autobert_zero.search_runs.prepare import PreparedSearch, prepare
from autobert_zero.search_runs.run import run_search
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone
from autobert_zero.zoo import opponents

FOUND_NAME = "found"
STRONGEST = 3
RATE_SEED = 10_000
QUICK_LENGTH = {"data": {"length": 128}, "proxy": {"batch_size": 2}, "final": {"batch_size": 2}}
"""Tasks have texts of up to 128 tokens."""


@dataclass(frozen=True)
class Contestant:
    """A model that takes part in the proof.

    Attributes:
        name: Name of its files.
        build: Makes the model with new weights; can be pickled.
        about: Description of the model in its results, as plain data.
    """

    name: str
    build: Callable[[], nn.Module]
    about: dict[str, Any]


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
            printed = proof.figures()
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


def save(model: nn.Module, path: Path, tokenizer: str, length: int) -> None:
    """Saves a trained model for `transformers`, with its tokenizer."""
    saved: Any = model.model if isinstance(model, Peer) else None
    if isinstance(model, MaskedLM):
        saved = from_masked_lm(model)
    saved.save_pretrained(path)
    wrap_tokenizer(Tokenizer.from_str(tokenizer), length).save_pretrained(path)


class Proof:
    """The trainings of the proof, and the figures that follow from them.

    Args:
        prepared: Data and sizes.
        out: Folder for everything that is kept.
        options: Options of the command line.
        found: Winners of searches; seed i trains winner i, modulo their number.
        progress: Progress display.
    """

    def __init__(
        self,
        prepared: PreparedSearch,
        out: Path,
        options: argparse.Namespace,
        found: Sequence[Backbone],
        progress: Bars,
    ) -> None:
        self.prepared, self.options, self.progress = prepared, options, progress
        # The rate is each model's own, so it is in the names of the trainings and not in the settings.
        table = Table("proof", prepared, out, options.blimp, options.quick)
        self.setup, self.store = table.setup, table.store
        self.steps = table.marks(options.tokens)[-1]
        self.tasks = out / "tasks"
        self.rounds = [self.contestants(winner) for winner in found]
        self.others = [name for name in self.rounds[0] if name != FOUND_NAME]

    def contestants(self, winner: Backbone) -> dict[str, Contestant]:
        """A winner, its opponents with as many parameters, and its peers, by name."""
        prepared = self.prepared
        contestants = {FOUND_NAME: self.from_backbone(FOUND_NAME, winner, prepared.model)}
        parameters = Model(winner, prepared.model).parameters
        for name, opponent in opponents(prepared.space).items():
            sizes = prepared.config.model.model_copy(update=dict(opponent.trunk)).encoder_config(
                prepared.vocabulary.size, prepared.config.data.length
            )
            model = with_parameters(Model(opponent.build(prepared.space.layers), sizes), parameters)
            contestants[name] = self.from_backbone(name, model.backbone, model.sizes)
        size = prepared.vocabulary.size, prepared.space.layers, prepared.model.width
        for name in peers(*size):
            contestants[name] = Contestant(name, partial(build_peer, name, *size), {"name": name})
        return contestants

    def from_backbone(self, name: str, backbone: Backbone, sizes: Any) -> Contestant:
        """A backbone as a contestant, under a file name that is unique among all searches."""
        about = {"name": name, "backbone": backbone.to_list(), "inner": sizes.inner}
        file_name = f"{name}-{backbone.key()[:8] if name == FOUND_NAME else sizes.inner}"
        return Contestant(file_name, partial(MaskedLM, backbone, sizes), about)

    def contestant(self, name: str, seed: int) -> Contestant:
        """The contestant of that name that is trained with a seed."""
        return self.rounds[seed % len(self.rounds)][name]

    @cached_property
    def speeds(self) -> dict[str, float]:
        """Tokens per second of training by contestant, all measured one after the other if one is missing."""
        models = {model.name: model for contestants in self.rounds for model in contestants.values()}
        speeds: dict[str, float] = self.store.get("speeds") or {}
        if not models.keys() <= speeds.keys():
            steps = 3 if self.options.quick else 12
            speeds = speeds | {
                name: speed(model.build, self.prepared, steps) for name, model in models.items()
            }
            self.store["speeds"] = speeds
        return speeds

    def rates(self) -> dict[str, float]:
        """The best learning rate of each model at a tenth of the tokens, by validation loss.

        The rates are tried for every winner and for the opponents of the first one only, since those of the
        other winners differ from these in the inner width alone.

        Returns:
            The rate by file name for winners, and by plain name for opponents.
        """
        rates = self.options.rates
        winners = {contestants[FOUND_NAME].name: contestants[FOUND_NAME] for contestants in self.rounds}
        models = {name: self.contestant(name, 0) for name in self.others} | winners
        if len(rates) == 1:
            return dict.fromkeys(models, rates[0])
        tenth = max(self.steps // 10, 8)
        trainings = {
            (name, rate): BranchedTraining(
                f"{model.name}-rate{rate:g}", model.build, model.about, RATE_SEED, rate, (tenth,)
            )
            for name, model in models.items()
            for rate in rates
        }
        readings = self.train_missing(list(trainings.values()))
        return {
            name: best_rate(
                [(readings[trainings[name, rate].name][tenth].get("selection_loss"), rate) for rate in rates]
            )
            for name in models
        }

    def train_missing(self, trainings: list[BranchedTraining]) -> dict[str, dict[int, dict[str, Any]]]:
        """Runs the trainings that are not stored yet; returns the measurements of all by name and mark."""
        unique = list({training.name: training for training in trainings}.values())
        return train_all(unique, self.setup, self.store, self.options.workers, self.progress)

    def measurements(self) -> dict[str, dict[int, dict[int, dict[str, Any]]]]:
        """Measurements by name, seed and mark; all models have the first seed, the strongest have all."""
        rates = self.rates()

        def train(names: Sequence[str], seeds: Sequence[int]) -> dict[tuple[str, int], Any]:
            trainings = {(name, seed): self.training(name, seed, rates) for seed in seeds for name in names}
            readings = self.train_missing(list(trainings.values()))
            return {key: readings[training.name] for key, training in trainings.items()}

        first = train([FOUND_NAME, *self.others], [0])
        losses = {name: first[name, 0][self.steps].get("selection_loss") for name in self.others}
        finite = {name: loss for name, loss in losses.items() if loss is not None}
        strongest = sorted(finite, key=finite.__getitem__)[:STRONGEST]
        rest = range(1, self.options.seeds)
        rows = first | (train([FOUND_NAME, *strongest], rest) if rest else {})
        return {
            name: {seed: reading for (own, seed), reading in rows.items() if own == name}
            for name in (FOUND_NAME, *self.others)
        }

    def training(self, name: str, seed: int, rates: Mapping[str, float]) -> BranchedTraining:
        """The training of a contestant, with marks on the way, at equal tokens, and at equal time."""
        marks = {self.steps // 4, self.steps // 2, self.steps, self.equal_time(name, seed)}
        length = self.prepared.config.data.length
        model = self.contestant(name, seed)
        path = self.tasks / folder(model.name, seed)
        save_model = partial(save, path=path, tokenizer=self.prepared.tokenizer.to_str(), length=length)
        rate = rates[model.name if name == FOUND_NAME else name]
        return BranchedTraining(
            f"{model.name}-rate{rate:g}-seed{seed}",
            model.build,
            model.about,
            seed,
            rate,
            tuple(sorted(marks)),
            self.steps,
            save_model,
        )

    def equal_time(self, name: str, seed: int) -> int:
        """Number of steps of a model in the time that the winner takes for all of its steps."""
        own, winner = (self.speeds[self.contestant(model, seed).name] for model in (name, FOUND_NAME))
        return max(round(self.steps * own / winner), 8)

    def figures(self) -> dict[str, Any]:
        """The figures to print."""
        rows = self.measurements()

        def figure(name: str, seed: int, kind: str) -> float | None:
            """A figure, the higher the better; None where the training diverged or it was not measured."""
            mark = self.equal_time(name, seed) if kind == "equal_time" else self.steps
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
            "quick": self.options.quick,
            "corpus": self.options.corpus.rstrip("/").rsplit("/", 1)[-1],
            "tokens": self.steps * self.setup.batch_size * self.prepared.config.data.length,
            "seeds": self.options.seeds,
            **printed,
            "gaps": all_gaps,
            "found": [contestants[FOUND_NAME].about["backbone"] for contestants in self.rounds],
            "rows": self.rows(rows),
        }

    def rows(self, rows: Mapping[str, dict[int, Any]]) -> dict[str, Any]:
        """The figures of each model by seed; parameters and speed are those of the first seed."""
        curves = [_uniformity(marks) for seeds in rows.values() for marks in seeds.values()]
        worst = max((min(loss for loss, _ in curve) for curve in curves if curve), default=0.0)
        printed: dict[str, Any] = {}
        for name, seeds in rows.items():
            last = {seed: reading[self.steps] for seed, reading in seeds.items()}
            time = {seed: reading[self.equal_time(name, seed)] for seed, reading in seeds.items()}
            model = self.contestant(name, 0)
            printed[name] = {
                "parameters": sum(weight.numel() for weight in model.build().parameters()),
                "tokens_per_second": round(self.speeds[model.name]),
                "losses": {seed: reading.get("val_loss") for seed, reading in last.items()},
                "losses_equal_time": {seed: reading.get("val_loss") for seed, reading in time.items()},
                "blimp": {seed: reading.get("minimal_pairs") for seed, reading in last.items()},
                "uniformity_at_loss": {
                    "loss": worst,
                    **{str(seed): at_equal_loss(_uniformity(marks), worst) for seed, marks in seeds.items()},
                },
                "tasks": self.fine_tuned(name) if len(seeds) == self.options.seeds else None,
            }
        return printed

    def fine_tuned(self, name: str) -> dict[str, Any] | None:
        """Scores of the first seed's model on the tasks; None where it diverged, or there are no tasks."""
        own = self.contestant(name, 0).name
        if self.options.glue is None or not (self.tasks / folder(own, 0)).exists():
            return None
        options = self.options
        study = Study(options.corpus, options.glue, self.tasks, options.quick, None, options.wnut)
        with Bars(log_console()) as progress:
            return {task: figures(scored(own, 0, task, study, progress)) for task in study.tasks}


def _uniformity(readings: Mapping[int, dict[str, Any]]) -> list[tuple[float, float]]:
    """Loss and mean token uniformity of the layers at each mark; empty for models of `transformers`."""
    return [
        (reading["val_loss"], fmean(reading["uniformity"][1:]))
        for reading in readings.values()
        if "uniformity" in reading
    ]


if __name__ == "__main__":
    main()
