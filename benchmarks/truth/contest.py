"""The trainings of the proof: contestants, their speeds, their learning rates and their measurements."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from backbones_on_glue import Study, folder, scored
from backbones_on_glue import figures as task_figures
from peers import Peer, build_peer, peers, speed
from tokenizers import Tokenizer
from torch import nn

from autobert_zero.hf import from_masked_lm
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.nn import MaskedLM
from autobert_zero.progress import Bars, log_console
from autobert_zero.search.comparison import Model, best_rate, with_parameters
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.space import Backbone
from autobert_zero.zoo import opponents
from truth.branched_training import BranchedTraining, train_all
from truth.table import Table

FOUND_NAME = "found"
STRONGEST = 3
"""Number of opponents that are trained with all seeds."""
RATE_SEED = 10_000


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


def save(model: nn.Module, path: Path, tokenizer: str, length: int) -> None:
    """Saves a trained model for `transformers`, with its tokenizer."""
    saved: Any = model.model if isinstance(model, Peer) else None
    if isinstance(model, MaskedLM):
        saved = from_masked_lm(model)
    saved.save_pretrained(path)
    wrap_tokenizer(Tokenizer.from_str(tokenizer), length).save_pretrained(path)


class Proof:
    """The trainings of the proof: winners of searches, their opponents and their peers.

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

    def fine_tuned(self, name: str) -> dict[str, Any] | None:
        """Scores of the first seed's model on the tasks; None where it diverged, or there are no tasks."""
        own = self.contestant(name, 0).name
        if self.options.glue is None or not (self.tasks / folder(own, 0)).exists():
            return None
        options = self.options
        study = Study(options.corpus, options.glue, self.tasks, options.quick, None, options.wnut)
        with Bars(log_console()) as progress:
            return {task: task_figures(scored(own, 0, task, study, progress)) for task in study.tasks}
