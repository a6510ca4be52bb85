"""The comparison at the end of a search: finalists, then the winner beside its opponents, from scratch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autobert_zero import cost
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.files import write_text
from autobert_zero.search.history import newest_scores, ranked
from autobert_zero.search.prepare import Setting
from autobert_zero.search.progress import RunProgress
from autobert_zero.search.trial import Trial
from autobert_zero.space import Backbone
from autobert_zero.training.loop import Recipe
from autobert_zero.training.scratch import Job, Result, default_workers, read_result, train_all
from autobert_zero.zoo import OPPONENTS

_SEEDS_OF_RUNS = 2**32  # config.seed is smaller


class Finals:
    """Trains models from scratch; a result that is in the folder already is read, not repeated."""

    def __init__(self, setting: Setting, out: Path, progress: RunProgress) -> None:
        self.config = setting.config
        self._setting = setting
        self._folder = out / "final"
        self.weights = out / "model.safetensors"
        self._progress = progress
        self._results = {path.stem: read_result(path) for path in sorted(self._folder.glob("*.json"))}

    def train(
        self, backbones: Mapping[str, Backbone], steps: int, seed: int, weights: Path | None = None
    ) -> dict[str, Result]:
        """Trains each backbone so many steps with the same recipe, seed and batches.

        Args:
            backbones: By name; results are kept under it.
            steps: Number of updates.
            seed: Of weights and batches.
            weights: Where to save those of the first backbone.
        """
        final = self.config.final
        recipe = Recipe(steps, final.batch_size, final.learning_rate, precision=self.config.precision)
        jobs = [
            Job(
                name=name,
                backbone=backbone,
                model=self._setting.model,
                data=self._setting.data,
                vocabulary=self._setting.vocabulary,
                recipe=recipe,
                seed=seed,
                device=str(self._setting.device),
                weights=weights if name == next(iter(backbones)) else None,
                short_share=final.short_share,
                short_length=final.short_length,
            )
            for name, backbone in backbones.items()
            if name not in self._results
        ]

        def keep(result: Result) -> None:
            write_text(self._folder / f"{result.name}.json", json.dumps(result.to_dict(), indent=2) + "\n")
            self._results[result.name] = result
            loss = result.reason if result.val_loss is None else f"held-out loss {result.val_loss:.4f}"
            self._progress.say(f"{result.name}: {loss}")

        if jobs:
            workers = final.workers or default_workers(self._setting.device)
            train_all(jobs, workers, self._progress.update, keep)
        return {name: self._results[name] for name in backbones}


def compare(finals: Finals, trials: Sequence[Trial], sizes: EncoderConfig) -> dict[str, Any]:
    """Screens the best candidates, then trains the winner beside its opponents."""
    config = finals.config
    best = ranked(trials)[: config.final.finalists]
    if not best:
        raise UserError("no candidate completed, so there is nothing to compare; see leaderboard.csv")
    names = {f"screening-{trial.proposal.number}": trial for trial in best}
    screened = finals.train(
        {name: trial.proposal.backbone for name, trial in names.items()},
        config.final.screening_steps,
        # Another seed than the comparison's: the winner must not be the one with the luckiest start there.
        config.seed + _SEEDS_OF_RUNS,
    )
    complete = [name for name in names if screened[name].selection_loss is not None]
    if not complete:
        raise UserError("every finalist diverged when trained from scratch; lower final.learning_rate")
    winner = names[min(complete, key=lambda name: screened[name].selection_loss or 0.0)]
    backbones = {"best": winner.proposal.backbone}
    backbones |= {name: build(config.model.layers) for name, build in OPPONENTS.items()}
    results = finals.train(backbones, config.final.steps, config.seed, finals.weights)
    summary: dict[str, Any] = {
        name: {
            "backbone": backbone.to_list(),
            "parameters": cost.parameters(backbone, sizes),
            "flops": cost.flops(backbone, sizes, config.data.length),
            **results[name].to_dict(),
        }
        for name, backbone in backbones.items()
    }
    summary["best"]["trial"] = winner.proposal.number
    newest = newest_scores(trials)
    summary["screening"] = [
        {
            "trial": trial.proposal.number,
            "score": newest[trial.proposal.number],
            "status": screened[name].status,
            "selection_loss": screened[name].selection_loss,
            "backbone": trial.proposal.backbone.to_list(),
        }
        for name, trial in names.items()
    ]
    return summary
