"""A distillation of a search from a model: a pre-training in a folder of its own, done once."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from autobert_zero.errors import UserError
from autobert_zero.pretrain.config import (
    PhaseConfig,
    PretrainConfig,
    PretrainDataConfig,
    PretrainModelConfig,
    RecipeConfig,
    ReportConfig,
)
from autobert_zero.pretrain.folder import read_summary
from autobert_zero.pretrain.log import read_log
from autobert_zero.pretrain.model import save_model
from autobert_zero.pretrain.run import run_pretraining
from autobert_zero.progress import Reporter
from autobert_zero.run_folder.names import CHECKPOINTS, FINALS, STUDENTS
from autobert_zero.search.board import Board
from autobert_zero.search.comparison import Training
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.shared_config import ModelConfig
from autobert_zero.space import Backbone
from autobert_zero.training.loop import Diverged

Weights = Callable[[Backbone], dict[str, Tensor]]
"""Returns the weights that a student of a backbone starts with, by the names of `MaskedLM`."""


@dataclass(frozen=True)
class Distilled:
    """The result of a distillation.

    Attributes:
        status: `complete` or `diverged`.
        reason: Why it diverged.
        selection_loss: Loss on validation text; chooses among finalists and rates.
        val_loss: Loss on held-out text.
        cosine: Mean cosine of its embeddings and the teacher's on held-out text; None where texts are not
            compared.
        tokens: Tokens trained on.
        seconds: Time of training.
        tokens_per_second: Speed of training.
    """

    status: str
    reason: str = ""
    selection_loss: float | None = None
    val_loss: float | None = None
    cosine: float | None = None
    tokens: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


@dataclass
class StudentTrainer:
    """Distils students; results in the run folder are read, not repeated.

    The winner's folder is `final`, the others are in `students`; `transformers` loads all of them.

    Attributes:
        prepared: The prepared run.
        out: The run folder.
        progress: Shows the progress.
        board: TensorBoard logs of later results; None: no logs.
    """

    prepared: PreparedSearch
    out: Path
    progress: Reporter
    board: Board | None = None

    def run(self, training: Training, weights: Weights) -> Distilled:
        """Distils a student, or reads an earlier result.

        Args:
            training: The training; its name is also that of its progress, results and folder.
            weights: Weights that it starts with.
        """
        name = training.name
        folder = self.out / (FINALS if name == "best" else f"{STUDENTS}/{name}")
        if read_summary(folder) is None:
            start = self.out / STUDENTS / f"{name}-start"
            config = self._config(training)
            save_model(config, weights(training.model.backbone), self.prepared.tokenizer, start)
            try:
                started = config.model_copy(update={"start": str(start.absolute())})
                run_pretraining(started, folder, _Named(name, self.progress))
            except UserError as error:
                if not isinstance(error.__cause__, Diverged):
                    raise
                self.progress.say(f"{name}: {error.__cause__}")
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
        self.progress.say(f"{name}: held-out distillation loss {result.val_loss:.4f}{near}")
        if self.board is not None:
            curve = [(row["step"], row["loss"]) for row in read_log(folder) if "loss" in row]
            self.board.write_final(name, curve, result.val_loss)
        return result

    def _config(self, training: Training) -> PretrainConfig:
        """The config of a distillation as a pre-training, without its start."""
        config, sizes = self.prepared.config, training.model.sizes
        model = {name: getattr(sizes, name) for name in ModelConfig.model_fields}
        return PretrainConfig(
            seed=training.seed,
            device=config.device,
            precision=config.precision,
            backbone=tuple(training.model.backbone.to_list()),
            distil=config.distil,
            data=PretrainDataConfig(
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
            phases=(
                PhaseConfig(
                    steps=training.steps, length=config.data.length, batch_size=config.final.batch_size
                ),
            ),
            recipe=RecipeConfig(learning_rate=training.learning_rate),
            report=ReportConfig(),
        )


class _Named(Reporter):
    """Passes on the progress of a distillation under its own name, and drops its lines."""

    def __init__(self, name: str, progress: Reporter) -> None:
        self._name = name
        self._progress = progress

    def say(self, text: str) -> None:
        pass

    def update(self, name: str, done: int, total: int, note: str = "") -> None:
        self._progress.update(self._name if name == "pre-training" else name, done, total, note)
