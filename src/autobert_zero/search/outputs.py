"""Writes the files of a run folder that people read."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autobert_zero import cost
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.files import read_json, write_text, written_whole
from autobert_zero.run_folder.names import BEST, SUMMARY, SUMMARY_TABLE
from autobert_zero.search.ranking import newest_scores, ranked
from autobert_zero.search.summary_text import decimal, summary_markdown
from autobert_zero.search.trial import Status, Trial
from autobert_zero.space import Backbone

_COLUMNS = (
    *("rank", "trial", "status", "score", "latest_score", "val_loss", "mlm_accuracy", "parameters"),
    *("flops", "seconds", "round", "parent", "key", "reason", "backbone"),
)


def write_leaderboard(path: Path, trials: Sequence[Trial], sizes: EncoderConfig, tokens: int) -> None:
    """Writes one row per candidate: the scored ones, best first, then the failed ones."""
    newest = newest_scores(trials)
    best_first = ranked(trials)
    failed = [trial for trial in trials if trial.outcome.status is not Status.COMPLETE]
    with written_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for rank, trial in enumerate((*best_first, *failed), start=1):
            proposal, outcome = trial.proposal, trial.outcome
            writer.writerow(
                [
                    rank if outcome.status is Status.COMPLETE else "",
                    proposal.number,
                    outcome.status.value,
                    decimal(outcome.score),
                    decimal(newest.get(proposal.number)),
                    decimal(outcome.metrics.get("val_loss")),
                    decimal(outcome.metrics.get("mlm_accuracy")),
                    cost.parameters(proposal.backbone, sizes),
                    cost.flops(proposal.backbone, sizes, tokens),
                    f"{outcome.seconds:.2f}",
                    proposal.round,
                    "" if proposal.parent is None else proposal.parent,
                    proposal.backbone.key(),
                    outcome.reason,
                    " | ".join(proposal.backbone.to_list()),
                ]
            )


def write_backbone(folder: Path, name: str, backbone: Backbone) -> None:
    """Writes `name.txt`, one layer per line, and `name.json`, a list."""
    write_text(folder / f"{name}.txt", f"{backbone}\n")
    write_text(folder / f"{name}.json", backbone.to_json() + "\n")


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Writes `summary.json` and `summary.md`."""
    write_text(folder / SUMMARY_TABLE, summary_markdown(summary))
    write_text(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")


def read_winner(run: Path) -> tuple[dict[str, Any], Backbone]:
    """The summary of a finished run whose winner has weights, and the winner.

    Raises:
        UserError: The run is not finished, its summary is damaged, or the winner diverged.
    """
    path = run / SUMMARY
    if not path.exists():
        raise UserError(f"the run in {run} is not finished; continue it with: search --out {run} --resume")
    summary = read_json(path)
    try:
        best = summary["best"]
        backbone, status = Backbone.from_list(best["backbone"]), best.get("status", "complete")
    except (UserError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error!r}; copy it again") from None
    if status != "complete":
        raise UserError(
            f"the winner of the run in {run} {status} when trained in full ({best.get('reason')}), so there "
            f"are no weights; pretrain its backbone, {run / BEST}.txt, at a lower rate"
        )
    return summary, backbone
