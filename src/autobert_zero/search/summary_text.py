"""The summary of a search in words: the verdict, and the table of the comparison."""

from collections.abc import Mapping
from typing import Any

from autobert_zero.errors import counted
from autobert_zero.markdown import table
from autobert_zero.search.student_outputs import (
    STUDENT_LABELS,
    nothing_new,
    student_notes,
    student_table,
    student_verdict,
)

LABELS = {
    "best": "found",
    "bert": "BERT",
    "rotary": "rotary attention",
    "hybrid": "the hand-made hybrid",
    "wide-hybrid": "the wide hybrid",
    "gated-convolution": "gated convolutions",
    "convolution": "convolutions only",
    **STUDENT_LABELS,
}
"""Labels of the models of the comparison, by their names in the summary."""

_NOTES = (
    "All were trained from scratch at the same depth, width, tokens and batches; the loss is measured on "
    "held-out text that neither the search nor the choice of the winner has seen. The speed is that of "
    "training, measured alone",
    "Screening of the finalists, from scratch, chosen by validation loss:",
)
"""Notes on how the comparison was made, and on how finalists were chosen."""


_EQUAL_TIME = "at equal time each opponent had as long as the found backbone"


def noise(tokens: int) -> float:
    """Difference of two losses, in nats, that is within the noise of one seed each.

    95 % of the differences between equal models are below 2 sqrt(2) standard deviations of one over seeds. In
    six searches of the preset `demo` (0.6 M tokens, where losses fall steeply) that of gated convolutions and
    of convolutions is 0.055 on average, after 3 M tokens that of twelve backbones 0.02 (docs/results.md).

    Args:
        tokens: Number of tokens of each training.
    """
    return 0.15 if tokens < 1_000_000 else 0.06


def verdict(summary: Mapping[str, Any]) -> str:
    """The leads over the opponents, and which of them exceed the noise, in a few sentences."""
    if "teacher" in summary:
        return student_verdict(summary, LABELS)
    best_loss = summary["best"]["val_loss"]
    if best_loss is None:
        best = summary["best"]
        return f"The found backbone {best['status']} when trained in full: {best['reason']}."
    again = summary.get("found_again", ())
    gains = {
        name: summary[name]["val_loss"] - best_loss
        for name in compared(summary)[1:]
        if name not in again and summary[name]["status"] == "complete"
    }
    sentences = [nothing_new(again, LABELS)] if again else []
    if not gains:
        return " ".join(sentences)
    sentences.append(_against_the_strongest(summary, gains))
    limit = noise(summary["best"]["tokens"])
    kinds = {
        "The found backbone beats": [f"{LABELS[n]} by {g:.3f} nats" for n, g in gains.items() if g >= limit],
        "The found backbone is beaten by": [
            f"{LABELS[n]} by {-g:.3f} nats" for n, g in gains.items() if g <= -limit
        ],
        "One seed does not tell it apart from": [
            f"{LABELS[n]} ({g:+.3f})" for n, g in gains.items() if abs(g) < limit
        ],
    }
    sentences += [f"{kind} {', '.join(names)}." for kind, names in kinds.items() if names]
    sentences.append(f"One seed: differences below {limit} nats are noise at this size.")
    return " ".join(sentences)


def _against_the_strongest(summary: Mapping[str, Any], gains: Mapping[str, float]) -> str:
    """Compares the found backbone with the strongest opponent, at equal tokens and at equal time."""
    name = min(gains, key=gains.__getitem__)
    text = f"Against its strongest opponent, {LABELS[name]}, the found backbone has a held-out loss "
    text += f"{_lead(gains[name])} at equal tokens"
    losses = {other: summary[other].get("val_loss_equal_time") for other in gains}
    timed = {other: loss - summary["best"]["val_loss"] for other, loss in losses.items() if loss is not None}
    if name in timed:
        text += f" and {_lead(timed[name])} at equal time"
    ahead = min(timed, key=timed.__getitem__, default=name)
    if ahead != name:
        text += f". At equal time its strongest opponent is {LABELS[ahead]}: {_lead(timed[ahead])}"
    return text + "."


def _lead(gain: float) -> str:
    return f"{abs(gain):.3f} nats {'lower' if gain >= 0 else 'higher'}"


def compared(summary: Mapping[str, Any]) -> list[str]:
    """Names of the models that a summary compares, the found one first."""
    return [name for name in LABELS if name in summary]


def summary_markdown(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown."""
    if "teacher" in summary:
        how, screening = student_notes(summary)
    else:
        how, screening = _NOTES
        how += f"; {_EQUAL_TIME}." if _has_equal_time(summary) else "."
    lines = [
        "# Search summary",
        "",
        verdict(summary),
        "",
        how,
        "",
        *comparison_table(summary),
    ]
    lines += ["", "The found backbone, one layer per line:", "", "```"]
    lines += summary["best"]["backbone"]
    counts = ", ".join(f"{count} {status}" for status, count in summary["statuses"].items())
    lines += [
        "```",
        "",
        f"{counted(summary['candidates'], 'candidate')} ({counts}) "
        f"in {summary['search_seconds']:.0f} s of search; "
        f"{summary['best']['tokens']:,} tokens for each model of the table; "
        f"{summary['seconds']:.0f} s in all; seed {summary['seed']}.",
        "",
        screening,
        "",
    ]
    screened = []
    for row in summary["screening"]:
        loss = decimal(row["selection_loss"]) or row["status"]
        stopped = row.get("stopped_after")
        score = f"{row['score']:.4f}" + (f" (stopped after {counted(stopped, 'step')})" if stopped else "")
        screened.append([str(row["trial"]), score, loss])
    return "\n".join([*lines, *table(["trial", "score", "screening loss"], screened)]) + "\n"


def comparison_table(summary: Mapping[str, Any]) -> list[str]:
    """The found backbone and its opponents as lines of a Markdown table."""
    if "teacher" in summary:
        return student_table(summary, LABELS)
    timed, rows = _has_equal_time(summary), []
    for name in compared(summary):
        row, label = summary[name], LABELS[name]
        if row["status"] != "complete":
            reason = f"{row['status']}: {row['reason']}"
            rows.append([label, reason, *[""] * timed, "", f"{row['parameters']:,}", "", ""])
            continue
        loss = row.get("val_loss_equal_time")
        rows.append(
            [
                *(label, f"{row['val_loss']:.4f}", *["" if loss is None else f"{loss:.4f}"] * timed),
                *(f"{row['mlm_accuracy']:.4f}", f"{row['parameters']:,}"),
                *(f"{row['flops'] / 1e6:.1f}", f"{row['tokens_per_second']:,.0f}"),
            ]
        )
    equal = summary.get("equal_weights")
    if equal is not None and equal["status"] == "complete":
        label = f"{LABELS[equal['opponent']]}, as many weights as found"
        accuracy, parameters = f"{equal['mlm_accuracy']:.4f}", f"{equal['parameters']:,}"
        rows.append([label, f"{equal['val_loss']:.4f}", *[""] * timed, accuracy, parameters, "", ""])
    header = ["backbone", "held-out loss", *["at equal time"] * timed, "accuracy", "parameters"]
    return table([*header, "MFLOPs / sequence", "tokens/s"], rows)


def _has_equal_time(summary: Mapping[str, Any]) -> bool:
    """Whether an opponent was also trained for as long as the found backbone."""
    opponents = compared(summary)[1:]
    return any(summary[name].get("val_loss_equal_time") is not None for name in opponents)


def decimal(value: float | None) -> str:
    """The number with six decimals; empty for None."""
    return "" if value is None else f"{value:.6f}"
