"""The end of a search from a model: finalists are distilled, then the winner beside its opponents."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from autobert_zero import cost
from autobert_zero.errors import UserError
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.teacher_bank import TeacherBank
from autobert_zero.pretrain.config import (
    PhaseConfig,
    PretrainConfig,
    PretrainModelConfig,
    RecipeConfig,
    ReportConfig,
    TextConfig,
)
from autobert_zero.pretrain.folder import read_summary
from autobert_zero.pretrain.model import save_model
from autobert_zero.pretrain.run import run_pretraining
from autobert_zero.progress import Reporter
from autobert_zero.run_folder.names import BANK, CHECKPOINTS, FINALS, METRICS, STUDENTS
from autobert_zero.search.board import Board
from autobert_zero.search.comparison import best_rate
from autobert_zero.search.finalists import choose_finalists, standings
from autobert_zero.search.limits import ROUNDING, Limits
from autobert_zero.search.trial import Trial
from autobert_zero.search_runs.prepare import Setting
from autobert_zero.search_runs.snapshots import snapshot_path
from autobert_zero.shared_config import ModelConfig
from autobert_zero.space import Backbone
from autobert_zero.training.loop import Diverged
from autobert_zero.zoo import students

_SEEDS = 2**29
"""Those of the reported distillations; the screening has others: the winner must not be the one with the
luckiest batches."""

_Weights = Callable[[Backbone], dict[str, Tensor]]
"""From a backbone to what a student of it starts with, by the names of `MaskedLM`."""


@dataclass(frozen=True)
class Distilled:
    """The result of a distillation.

    Attributes:
        status: `complete` or `diverged`.
        reason: Why it diverged.
        selection_loss: On validation text; chooses among finalists and rates.
        val_loss: On held-out text.
        cosine: Mean cosine of its embeddings and the teacher's on held-out text; None where texts are not
            compared.
        tokens: Tokens trained on.
        seconds: Time of training.
        tokens_per_second: Of training.
    """

    status: str
    reason: str = ""
    selection_loss: float | None = None
    val_loss: float | None = None
    cosine: float | None = None
    tokens: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0


class StudentFinals:
    """Distils students from the shared weights; what is finished in the folder is read, not repeated.

    Each distillation is a pre-training in a folder of its own, which `transformers` loads: the winner's is
    `final`, the others are in `students`.

    Args:
        setting: Of the run.
        out: The run folder.
        progress: What the user sees.
        limits: Measure latency.
    """

    def __init__(self, setting: Setting, out: Path, progress: Reporter, limits: Limits) -> None:
        assert setting.start is not None
        self._setting = setting
        self._start = setting.start
        self._out = out
        self._progress = progress
        self._latency = limits.costs.functions()["latency_ms"]
        self._board: Board | None = None

    def log(self, board: Board | None) -> None:
        """Writes the results that come into TensorBoard's logs."""
        self._board = board

    def run(self, trials: Sequence[Trial]) -> dict[str, Any]:
        """Screens the best candidates, then distils the winner beside its opponents.

        Returns:
            For each model, by name, its backbone, costs, rate and results, and whether it is at no more than
            the winner's latency; the costs of the teacher; under `strongest` the opponent with the lowest
            held-out loss among those that are, None without any; the screening.

        Raises:
            UserError: No candidate was scored, or every finalist diverged.
        """
        seed = self._setting.config.seed % _SEEDS
        winner, screening = self._screen(trials, seed + _SEEDS)
        best = winner.proposal.backbone
        limit = self._latency(best) * (1 + ROUNDING)
        rows: dict[str, dict[str, Any]] = {}
        for name, backbone in {"best": best, **self.opponents(best)}.items():
            costs = self._costs(backbone)
            rows[name] = {
                **costs,
                **self._distilled(name, backbone, seed),
                "within_latency": costs["latency_ms"] <= limit,
            }
        rows["best"]["trial"] = winner.proposal.number
        losses = {
            name: row["val_loss"]
            for name, row in rows.items()
            if name != "best" and row["within_latency"] and row["val_loss"] is not None
        }
        teacher = {"model": self._start.teacher.name, **self._costs(self._start.backbone)}
        return {
            **rows,
            "teacher": teacher,
            "strongest": min(losses, key=losses.__getitem__) if losses else None,
            "screening": screening,
        }

    def opponents(self, best: Backbone) -> dict[str, Backbone]:
        """What the winner is compared with, by name.

        Every second layer of the teacher, and the first half of its layers, whatever their latency; its
        layers evenly, the hand-made hybrid and convolutions only, as deep as the winner's latency allows.
        """
        teacher, limit = self._start.backbone, self._latency(best) * (1 + ROUNDING)
        half = max(len(teacher.layers) // 2, 1)
        chosen = {
            "every-second": students(teacher, half)["teacher-layers"],
            "first-half": Backbone(teacher.layers[:half]),
        }
        for name in ("teacher-layers", "hybrid", "convolution"):
            stacks = [students(teacher, depth)[name] for depth in range(len(teacher.layers), 0, -1)]
            within = (stack for stack in stacks if self._latency(stack.canonical()) <= limit)
            chosen[name] = next(within, stacks[-1])
        if chosen["teacher-layers"] == chosen["every-second"]:
            del chosen["teacher-layers"]
        return {name: backbone.canonical() for name, backbone in chosen.items()}

    def _screen(self, trials: Sequence[Trial], seed: int) -> tuple[Trial, list[dict[str, Any]]]:
        """The finalist with the lowest loss on validation text, and what was seen of all of them."""
        proxy, final = self._setting.config.proxy, self._setting.config.final
        standing = standings(trials, proxy)
        finalists = [trials[number] for number in choose_finalists(trials, proxy, final.finalists)]
        results = [
            self._distil(
                f"screening-{trial.proposal.number}",
                trial.proposal.backbone,
                self._shared,
                final.screening_steps,
                final.learning_rate,
                seed,
            )
            for trial in finalists
        ]
        losses = {
            index: result.selection_loss
            for index, result in enumerate(results)
            if result.selection_loss is not None
        }
        if not losses:
            raise UserError("every finalist diverged when distilled; lower final.learning_rate")
        screening = [
            {
                "trial": trial.proposal.number,
                "score": standing[trial.proposal.number].score,
                "status": result.status,
                "selection_loss": result.selection_loss,
                "backbone": trial.proposal.backbone.to_list(),
            }
            for trial, result in zip(finalists, results, strict=True)
        ]
        return finalists[min(losses, key=losses.__getitem__)], screening

    def _distilled(self, name: str, backbone: Backbone, seed: int) -> dict[str, Any]:
        """A model of the comparison at its best rate, and the rate."""
        final = self._setting.config.final
        weights = self._of_first_layers if name == "first-half" else self._shared
        rates = final.rates or (final.learning_rate,)
        rate = rates[0]
        if len(rates) > 1:
            short = {
                each: self._distil(
                    f"rate-{name}-{each:g}", backbone, weights, final.screening_steps, each, seed + _SEEDS
                )
                for each in rates
            }
            rate = best_rate([(result.selection_loss, each) for each, result in short.items()])
        return {
            **asdict(self._distil(name, backbone, weights, final.steps, rate, seed)),
            "learning_rate": rate,
        }

    def _costs(self, backbone: Backbone) -> dict[str, Any]:
        sizes, tokens = self._setting.model, self._setting.config.data.length
        latency = self._latency(backbone)
        return {
            "backbone": backbone.to_list(),
            "parameters": cost.parameters(backbone, sizes),
            "flops": cost.flops(backbone, sizes, tokens),
            "latency_ms": latency,
            "speedup": self._latency(self._start.backbone) / latency,
        }

    def _distil(
        self, name: str, backbone: Backbone, weights: _Weights, steps: int, rate: float, seed: int
    ) -> Distilled:
        """Distils a student, or reads what came of it before."""
        folder = self._out / (FINALS if name == "best" else f"{STUDENTS}/{name}")
        if read_summary(folder) is None:
            start = self._out / STUDENTS / f"{name}-start"
            config = self._config(backbone, steps, rate, seed)
            save_model(config, weights(backbone), self._setting.tokenizer, start)
            try:
                started = config.model_copy(update={"start": str(start.absolute())})
                run_pretraining(started, folder, _Named(name, self._progress))
            except UserError as error:
                if not isinstance(error.__cause__, Diverged):
                    raise
                self._progress.say(f"{name}: {error.__cause__}")
                return Distilled("diverged", str(error.__cause__))
            finally:
                shutil.rmtree(start)
            shutil.rmtree(folder / CHECKPOINTS)
        summary = read_summary(folder) or {}
        result = Distilled(
            "complete",
            selection_loss=summary["validation_loss"],
            val_loss=summary["holdout_loss"],
            cosine=summary.get("holdout_cosine"),
            tokens=summary["tokens"],
            seconds=summary["seconds"],
            tokens_per_second=summary["tokens_per_second"],
        )
        near = "" if result.cosine is None else f", cosine to the teacher {result.cosine:.4f}"
        self._progress.say(f"{name}: held-out distillation loss {result.val_loss:.4f}{near}")
        if self._board is not None:
            rows = map(json.loads, (folder / METRICS).read_text(encoding="utf-8").splitlines())
            curve = [(row["step"], row["loss"]) for row in rows if "loss" in row]
            self._board.write_final(name, curve, result.val_loss)
        return result

    def _config(self, backbone: Backbone, steps: int, rate: float, seed: int) -> PretrainConfig:
        """A distillation as a pre-training, without what it starts from."""
        config, sizes = self._setting.config, self._setting.model
        model = {name: getattr(sizes, name) for name in ModelConfig.model_fields}
        return PretrainConfig(
            seed=seed,
            device=config.device,
            precision=config.precision,
            backbone=tuple(backbone.to_list()),
            distil=config.distil,
            text=TextConfig(
                corpus=config.data.corpus,
                text_column=config.data.text_column,
                document=config.data.document,
                isolated=True,
            ),
            model=PretrainModelConfig(
                **model | {"feed_forward": sizes.inner},
                vocab_size=sizes.vocab_size,
                max_positions=sizes.max_positions,
            ),
            phases=(PhaseConfig(steps=steps, length=config.data.length, batch_size=config.final.batch_size),),
            recipe=RecipeConfig(learning_rate=rate),
            report=ReportConfig(),
        )

    @cached_property
    def _bank(self) -> TeacherBank:
        bank = TeacherBank(self._setting.model, self._start.backbone, self._start.weights)
        bank.load_state(load_file(snapshot_path(self._out / BANK, 0)))
        return bank

    def _shared(self, backbone: Backbone) -> dict[str, Tensor]:
        """The part of the shared weights that a backbone uses."""
        model = MaskedLM(backbone, self._setting.model)
        self._bank.inherit(model)
        return model.state_dict()

    def _of_first_layers(self, backbone: Backbone) -> dict[str, Tensor]:
        """The weights of the teacher's first layers; of a head that it lacks, new ones."""
        new = MaskedLM(backbone, self._setting.model).state_dict()
        return {name: self._start.weights.get(name, tensor) for name, tensor in new.items()}


class _Named(Reporter):
    """Passes the progress of a distillation on under its own name, and none of its lines."""

    def __init__(self, name: str, progress: Reporter) -> None:
        self._name = name
        self._progress = progress

    def say(self, text: str) -> None:
        pass

    def update(self, name: str, done: int, total: int, note: str = "") -> None:
        self._progress.update(self._name if name == "pre-training" else name, done, total, note)
