"""The table of truth: trainings of backbones from scratch, kept in a folder."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from result_store import ResultStore

from autobert_zero.errors import UserError
from autobert_zero.hf.tokenizer import wrap_tokenizer
from autobert_zero.minimal_pairs.data import read_pairs, subset
from autobert_zero.minimal_pairs.measure import TokenisedPairs
from autobert_zero.nn import MaskedLM
from autobert_zero.progress import Bars
from autobert_zero.provenance import versions
from autobert_zero.run_folder.digests import digest_of
from autobert_zero.search_runs.prepare import PreparedSearch
from autobert_zero.training.precision import resolve_precision
from autobert_zero.training.speed import training_speed
from truth.backbones import TableBackbone
from truth.branched_training import BranchedTraining, train_all
from truth.evaluation import Setup
from truth.proxy_agreement import stratified_halves

MARKS = (1e6, 3e6, 10e6, 30e6, 100e6)
EVALUATED, PAIRS = 2048, 6700
VERSIONS = ("autobert-zero", "torch", "numpy", "tokenizers")
QUICK = {
    "data": {"vocab_size": 512, "length": 32},
    "model": {"width": 32},
    "proxy": {"batch_size": 8, "validation_sequences": 32},
    "final": {"batch_size": 8},
}


class Table:
    """Trainings of backbones, measured at marks and kept in a folder.

    Args:
        benchmark: Name of the benchmark that makes the table.
        prepared: Data and sizes.
        out: Folder for everything that is kept.
        blimp: File or folder of minimal pairs; None measures none.
        quick: Whether to measure on less text and fewer pairs.

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
        self.setup = Setup(
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
        per_step = self.setup.batch_size * self.prepared.config.data.length
        return tuple(max(round(mark / per_step), 8) for mark in (*(m for m in MARKS if m < tokens), tokens))

    def trainings(
        self, chosen: Sequence[TableBackbone], seed: int, marks: tuple[int, ...]
    ) -> list[BranchedTraining]:
        """The trainings of backbones with a seed."""
        sizes = self.prepared.model
        return [
            BranchedTraining(
                f"{entry.backbone.key()}-seed{seed}",
                partial(MaskedLM, entry.backbone, sizes),
                {
                    "origin": entry.origin,
                    "backbone": entry.backbone.to_list(),
                    "attentions": entry.attentions,
                },
                seed,
                self.prepared.config.proxy.learning_rate,
                marks,
                marks[-1],
            )
            for entry in chosen
        ]

    def train(
        self,
        chosen: Sequence[TableBackbone],
        marks: tuple[int, ...],
        workers: int,
        progress: Bars,
    ) -> dict[str, dict[int, dict[str, Any]]]:
        """Trains what is missing in the table; returns the measurements by training and mark."""
        twice = [chosen[index] for index in stratified_halves([entry.attentions for entry in chosen])[0]]
        trainings = [*self.trainings(chosen, 0, marks), *self.trainings(twice, 1, marks)]
        return train_all(trainings, self.setup, self.store, workers, progress)

    def stored(
        self, chosen: Sequence[TableBackbone], marks: tuple[int, ...]
    ) -> dict[str, dict[int, dict[str, Any]]]:
        """The stored measurements at the marks that all backbones have reached, by training and mark.

        Raises:
            UserError: There is no mark that all have reached.
        """
        rows = {}
        for entry in chosen:
            for seed in (0, 1):
                name = f"{entry.backbone.key()}-seed{seed}"
                marked = (self.store.get(name) or {}).get("marks", {})
                rows[name] = {mark: marked[str(mark)] for mark in marks if str(mark) in marked}
        first = [rows[f"{entry.backbone.key()}-seed0"] for entry in chosen]
        common = [mark for mark in marks if all(mark in row for row in first)]
        if not common:
            raise UserError(
                f"{self.store.folder} has no mark that all {len(chosen)} backbones were trained to"
            )
        return {name: {mark: row[mark] for mark in common} for name, row in rows.items() if common[-1] in row}

    def speeds(self, chosen: Sequence[TableBackbone]) -> dict[str, float]:
        """Tokens per second of training by key, all measured one after the other where one is missing."""
        speeds: dict[str, float] = self.store.get("speeds") or {}
        backbones = {entry.backbone.key(): entry.backbone for entry in chosen}
        if not backbones.keys() <= speeds.keys():
            prepared, setup = self.prepared, self.setup
            batch, length = setup.batch_size, prepared.config.data.length
            speeds = speeds | {
                key: training_speed(
                    backbone, prepared.model, batch, length, setup.precision, prepared.device, 12
                ).tokens_per_second
                for key, backbone in backbones.items()
            }
            self.store["speeds"] = speeds
        return {key: round(speeds[key]) for key in backbones}


def _digest(blimp: Path) -> str:
    files = sorted(path for path in blimp.rglob("*") if path.is_file()) if blimp.is_dir() else [blimp]
    return digest_of(files)
