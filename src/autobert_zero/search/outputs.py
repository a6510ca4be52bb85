"""The files of a run folder that people read."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autobert_zero import cost
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.files import write_text, written_whole
from autobert_zero.search.history import newest_scores, ranked
from autobert_zero.search.trial import Status, Trial
from autobert_zero.space import Backbone

LEADERBOARD = "leaderboard.csv"

_COLUMNS = (
    *("rank", "trial", "status", "score", "latest_score", "val_loss", "mlm_accuracy", "parameters"),
    *("flops", "seconds", "round", "parent", "key", "reason", "backbone"),
)


def write_leaderboard(path: Path, trials: Sequence[Trial], sizes: EncoderConfig, tokens: int) -> None:
    """Writes one row per candidate: the scored ones best first, then those that failed."""
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
                    _number(outcome.score),
                    _number(newest.get(proposal.number)),
                    _number(outcome.metrics.get("val_loss")),
                    _number(outcome.metrics.get("mlm_accuracy")),
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
    """Writes `name.txt`, one layer a line, and `name.json`, a list."""
    write_text(folder / f"{name}.txt", f"{backbone}\n")
    write_text(folder / f"{name}.json", backbone.to_json() + "\n")


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Writes `summary.json` and `summary.md`."""
    write_text(folder / "summary.md", summary_markdown(summary))
    write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")


NOISE = 0.06
"""A difference of two losses, in nats, below which one seed each says nothing.

Over three seeds the loss of one backbone has a standard deviation of 0.02 (BERT, hybrid, convolutions, see
docs/results.md): 95 % of the differences between equal models are below 2 * sqrt(2) * 0.02.
"""


def verdict(summary: Mapping[str, Any]) -> str:
    """Who is ahead by how much, and what of it is more than noise, in a few sentences."""
    found = summary["best"]["val_loss"]
    if found is None:
        best = summary["best"]
        return f"The found backbone {best['status']} when trained in full: {best['reason']}."
    beaten, tied, lost = [], [], []
    for name, label in LABELS.items():
        if name == "best" or summary[name]["status"] != "complete":
            continue
        gain = summary[name]["val_loss"] - found
        if abs(gain) < NOISE:
            tied.append(f"{label} ({gain:+.3f})")
        elif gain > 0:
            beaten.append(f"{label} by {gain:.3f} nats")
        else:
            lost.append(f"{label} by {-gain:.3f} nats")
    sentences = []
    if beaten:
        sentences.append(f"The found backbone beats {', '.join(beaten)}.")
    if lost:
        sentences.append(f"The found backbone is beaten by {', '.join(lost)}.")
    if tied:
        sentences.append(f"One seed does not tell it apart from {', '.join(tied)}.")
    if beaten or lost or tied:
        sentences.append(f"One seed: differences below {NOISE} nats are noise at this size.")
    return " ".join(sentences)


LABELS = {
    "best": "found",
    "bert": "BERT",
    "hybrid": "the hand-made hybrid",
    "convolution": "convolutions only",
}
"""What the models of the comparison are called, by their names in the summary."""


def summary_markdown(summary: Mapping[str, Any]) -> str:
    """The summary for people."""
    lines = [
        "# Search summary",
        "",
        verdict(summary),
        "",
        "All four were trained from scratch at the same depth, width, tokens, batches and recipe; the "
        "loss is measured on held-out text that neither the search nor the choice of the winner has seen.",
        "",
        *comparison_table(summary),
    ]
    lines += ["", "The found backbone, one layer per line:", "", "```"]
    lines += summary["best"]["backbone"]
    counts = ", ".join(f"{count} {status}" for status, count in summary["statuses"].items())
    lines += [
        "```",
        "",
        f"{summary['candidates']} candidates ({counts}) in {summary['search_seconds']:.0f} s of search; "
        f"{summary['best']['tokens']:,} tokens for each model of the table; "
        f"{summary['seconds']:.0f} s in all; seed {summary['seed']}.",
        "",
        "Screening of the finalists, from scratch, chosen by validation loss:",
        "",
        "| trial | shared-weight score | screening loss |",
        "|---|---|---|",
    ]
    for row in summary["screening"]:
        lines.append(
            f"| {row['trial']} | {row['score']:.4f} | {_number(row['selection_loss']) or row['status']} |"
        )
    return "\n".join(lines) + "\n"


def comparison_table(summary: Mapping[str, Any]) -> list[str]:
    """The found backbone and its opponents as the lines of a Markdown table."""
    lines = [
        "| backbone | held-out loss | MLM accuracy | parameters | MFLOPs / sequence | tokens/s |",
        "|---|---|---|---|---|---|",
    ]
    for name, label in LABELS.items():
        row = summary[name]
        if row["status"] != "complete":
            lines.append(f"| {label} | {row['status']}: {row['reason']} | | {row['parameters']:,} | | |")
            continue
        lines.append(
            f"| {label} | {row['val_loss']:.4f} | {row['mlm_accuracy']:.4f} | {row['parameters']:,} "
            f"| {row['flops'] / 1e6:.1f} | {row['tokens_per_second']:,.0f} |"
        )
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
