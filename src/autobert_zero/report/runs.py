"""Reads folders of searches, finished or not; what cannot be read is reported, not guessed."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.report.reading import reported_pairs, reported_start, reported_summary
from autobert_zero.run_folder import FINETUNING, SEARCH, kind_of
from autobert_zero.run_folder.names import (
    FINALS,
    LEADERBOARD,
    SCORE,
    SEED_BACKBONES,
    STUDY_FILE,
    SUMMARY,
    TOKENIZER,
)
from autobert_zero.search.config import SearchConfig, read_search_config
from autobert_zero.search.history import STUDY, read_trials
from autobert_zero.search.optuna_trials import HistoryError
from autobert_zero.search.ranking import newest_scores, ranked
from autobert_zero.search.summary_text import LABELS, compared, verdict
from autobert_zero.search.trial import Outcome, Proposal, Status, Trial
from autobert_zero.space import Backbone, CanonicalBackbone

_SIGNS = (SEARCH.marker, STUDY_FILE, SUMMARY, LEADERBOARD)
"""Files of which any shows that a folder holds, or held, a search."""


class ReportError(UserError):
    """A report that cannot be made."""


@dataclass(frozen=True)
class Run:
    """The readable part of a search.

    Attributes:
        name: Name of the run on the page.
        config: Config of the search; None if it is missing.
        first: Backbones of the user.
        trials: Trials in the order of their numbers.
        finals: Results of the models trained from scratch, by name (`best`, `bert`, ...).
        summary: The summary; None while the run is not finished.
        text: Digest of the text that the run was started on; empty if it was not recorded.
        teacher: Digest of the weights of the model that the search was started from; empty likewise.
        vocabulary: Number of tokens in the vocabulary; None if the tokenizer is missing.
        missing: One sentence for each file that could not be read, with what the report lacks.
        minimal_pairs: The winner's results on minimal pairs; None if they were not measured.
    """

    name: str
    config: SearchConfig | None = None
    first: tuple[Backbone, ...] = ()
    trials: tuple[Trial, ...] = ()
    finals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    text: str = ""
    teacher: str = ""
    vocabulary: int | None = None
    missing: tuple[str, ...] = ()
    minimal_pairs: Mapping[str, Any] | None = None

    @property
    def winner(self) -> int | None:
        """Number of the winning trial of the comparison; before the comparison, of the best trial so far."""
        if self.summary is not None and self.summary["best"]["trial"] < len(self.trials):
            return int(self.summary["best"]["trial"])
        best = ranked(self.trials)
        return best[0].proposal.number if best else None

    @property
    def sizes(self) -> EncoderConfig | None:
        """Sizes of the models, which costs depend on; None without a config."""
        if self.config is None:
            return None
        model, data = self.config.model, self.config.data
        return model.encoder_config(self.vocabulary or data.vocab_size, data.length)

    @property
    def verdict(self) -> str:
        """The outcome of the run in one sentence or two."""
        if self.summary is not None:
            return verdict(self.summary)
        planned = f" of {self.config.proxy.candidates}" if self.config else ""
        best = ranked(self.trials)
        if not best:
            return f"Not finished: {len(self.trials)}{planned} candidates, none with a score yet."
        number = best[0].proposal.number
        score = f"{newest_scores(self.trials)[number]:.4f}".replace("-", "−")
        return (
            f"Not finished: {len(self.trials)}{planned} candidates; the best so far is trial {number} "
            f"with a score of {score}."
        )


def read_reported_run(folder: Path) -> Run:
    """Reads what there is of a search.

    Raises:
        ReportError: The folder holds no search.
    """
    if kind_of(folder) is FINETUNING:
        raise ReportError(f"{folder} holds a fine-tuning, not a search; its figures are in {folder / SCORE}")
    if not any((folder / sign).exists() for sign in _SIGNS):
        what = "is a file" if folder.is_file() else "is not there"
        what = f"has none of {', '.join(_SIGNS)}" if folder.is_dir() else what
        raise ReportError(f"{folder} is not a run: it {what}; give the --out of a search")
    missing: list[str] = []
    config = _search_config(folder, missing)
    trials = _trials(folder, config, missing)
    summary = _summary(folder, missing)
    start = reported_start(folder, "whether the run was on the text of other runs is not known", missing)
    identities = {what: recorded.identity for what, recorded in start.inputs.items()} if start else {}
    return Run(
        name=folder.resolve().name,
        config=config,
        first=_first(folder, missing),
        trials=trials,
        finals=_finals(folder, summary),
        summary=summary,
        text=identities.get("text", ""),
        teacher=identities.get("teacher", ""),
        vocabulary=_vocabulary(folder, missing),
        minimal_pairs=reported_pairs(folder, missing),
        missing=tuple(missing),
    )


def _search_config(folder: Path, missing: list[str]) -> SearchConfig | None:
    try:
        return read_search_config(folder)
    except UserError as error:
        missing.append(
            f"The config cannot be read ({error}): no parameters and FLOPs of candidates, no operation "
            "priority, and no command that repeats the run."
        )
        return None


def _trials(folder: Path, config: SearchConfig | None, missing: list[str]) -> tuple[Trial, ...]:
    leaderboard = folder / LEADERBOARD
    if not leaderboard.exists():
        missing.append(
            f"{LEADERBOARD} is missing: the search is going on, or was killed. Nothing here depends on it."
        )
    study = folder / STUDY_FILE
    try:
        if config is not None and config.storage is not None:
            return tuple(read_trials(config.storage, config.study))
        if not study.exists():
            raise HistoryError(f"{STUDY_FILE}, the history, is missing")
        return tuple(read_trials(study, STUDY if config is None else config.study))
    except HistoryError as error:
        reason = str(error)
    try:
        trials = _from_leaderboard(leaderboard)
    except (OSError, AttributeError, KeyError, TypeError, ValueError):  # rows and cells may be missing
        missing.append(f"{reason}; {LEADERBOARD} cannot stand in for it: no candidate is shown.")
        return ()
    missing.append(
        f"{reason}: the candidates are those of {LEADERBOARD}, without the names of the mutations, and gains "
        "compare first scores, since later ones are not in it."
    )
    return trials


def _from_leaderboard(path: Path) -> tuple[Trial, ...]:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: int(row["trial"]))
    if [int(row["trial"]) for row in rows] != list(range(len(rows))):
        raise ValueError("rows are missing")
    return tuple(
        Trial(
            Proposal(
                number=int(row["trial"]),
                backbone=CanonicalBackbone(Backbone.from_list(row["backbone"].split(" | "))),
                round=int(row["round"]),
                parent=int(row["parent"]) if row["parent"] else None,
            ),
            Outcome(
                status=Status(row["status"]),
                score=float(row["score"]) if row["score"] else None,
                reason=row["reason"],
                seconds=float(row["seconds"]),
            ),
        )
        for row in rows
    )


def _summary(folder: Path, missing: list[str]) -> Mapping[str, Any] | None:
    def check(summary: Mapping[str, Any]) -> None:
        verdict(summary)
        int(summary["best"]["trial"])

    summary = reported_summary(
        folder, check, "the final comparison is not finished", "there is no final comparison", missing
    )
    if summary is not None and "versions" not in summary:
        missing.append("The versions of the packages were not recorded.")
    return summary


def _finals(folder: Path, summary: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """The rows of the summary or, before there is one, the results of the models trained so far."""
    if summary is not None:
        return {name: summary[name] for name in compared(summary)}
    finals: dict[str, Mapping[str, Any]] = {}
    for name in LABELS:
        try:
            row = json.loads((folder / FINALS / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(row, dict) and "status" in row:
            finals[name] = row
    return finals


def _first(folder: Path, missing: list[str]) -> tuple[Backbone, ...]:
    path = folder / SEED_BACKBONES
    if not path.exists():
        return ()
    try:
        return tuple(Backbone.from_list(layers) for layers in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        missing.append(f"{SEED_BACKBONES} is damaged: the command that repeats the run lacks them.")
        return ()


def _vocabulary(folder: Path, missing: list[str]) -> int | None:
    try:
        tokenizer = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
        added = [int(token["id"]) for token in tokenizer["added_tokens"]]
        return max([*tokenizer["model"]["vocab"].values(), *added]) + 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        missing.append(
            f"{TOKENIZER} cannot be read: parameters are counted with the vocabulary of the config."
        )
        return None
