"""The texts and tables of the summary of a search from a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from autobert_zero.markdown import table

NARROW_LAYERS = "narrow-layers"
"""The model's layers with the feed-forward blocks that the search chose."""

STUDENT_LABELS = {
    "every-second": "every second layer of the model",
    "first-half": "the first half of the model's layers",
    "teacher-layers": "the model's layers, evenly",
    NARROW_LAYERS: "the model's layers, evenly, with narrower feed-forward blocks",
}
"""Labels of the opponents that only a search from a model has."""


def nothing_new(opponents: Sequence[str], labels: Mapping[str, str]) -> str:
    """A sentence for a winner that is the same as opponents, of the given names."""
    names = " and ".join(labels[name] for name in opponents)
    return f"The search found nothing better than {names}: the winner is that backbone."


def student_verdict(summary: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """The speed of the found student, its distance to the teacher, and how the opponents compare.

    Args:
        summary: Summary of the run.
        labels: Labels of the models, by their names in the summary.
    """
    best, teacher = summary["best"], summary["teacher"]
    if best["status"] != "complete":
        return f"The found student {best['status']} when distilled: {best['reason']}."
    near = "" if best["cosine"] is None else f", cosine {best['cosine']:.4f}"
    sentences = [
        f"The layers of the found student are {best['speedup']:.2f} times as fast as those of "
        f"{teacher['model']} ({best['latency_ms']:.3g} of {teacher['latency_ms']:.3g} ms); its distillation "
        f"loss on held-out text is {best['val_loss']:.4f}{near}."
    ]
    if (inner := best.get("feed_forward")) != teacher.get("feed_forward"):
        sentences.append(
            f"Its feed-forward blocks are {inner:,} wide instead of {teacher['feed_forward']:,}."
        )
    again = [name for name in summary.get("found_again", ()) if name != NARROW_LAYERS]
    if again:
        sentences.append(nothing_new(again, labels))
    elif summary.get("found_again"):
        sentences.append("With blocks of that width the search found no better layers than the model's own.")
    if summary["strongest"] is not None:
        name = summary["strongest"]
        loss = summary[name]["val_loss"]
        how = "higher" if loss >= best["val_loss"] else "lower"
        sentences.append(
            f"Of the opponents that are fast enough, {labels[name]} has the lowest loss, {loss:.4f}, "
            f"{abs(loss - best['val_loss']):.4f} {how}."
        )
    slower = [
        labels[name] for name in labels if name in summary and not summary[name].get("within_latency", True)
    ]
    if slower:
        sentences.append(f"Too slow: {', '.join(slower)}.")
    return " ".join([*sentences, "One seed."])


def student_table(summary: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    """The teacher, the found student and its opponents as lines of a Markdown table."""
    teacher = summary["teacher"]
    rows = [[teacher["model"], "", "", *_costs(teacher | {"speedup": None})]]
    for name in (name for name in labels if name in summary):
        row = summary[name]
        slower = "" if row["within_latency"] else " (too slow)"
        near = "" if row["cosine"] is None else f"{row['cosine']:.4f}"
        loss = (
            f"{row['val_loss']:.4f}" if row["status"] == "complete" else f"{row['status']}: {row['reason']}"
        )
        rows.append([f"{labels[name]}{slower}", loss, near, *_costs(row)])
    header = [
        *("model", "distillation loss", "cosine", "ms of the layers", "speedup", "parameters", "layers"),
        "feed-forward",
    ]
    return table(header, rows)


def _costs(row: Mapping[str, Any]) -> list[str]:
    """Milliseconds, speedup, parameters, layers and width of the feed-forward blocks."""
    return [
        f"{row['latency_ms']:.3g}",
        "1" if row["speedup"] is None else f"{row['speedup']:.2f}",
        f"{row['parameters']:,}",
        str(len(row["backbone"])),
        str(row.get("feed_forward", "")),
    ]


def student_notes(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Notes for the summary on how the comparison was made, and on how finalists were chosen."""
    return (
        f"All were distilled from {summary['teacher']['model']} with the same text, tokens and losses. They "
        "start from the same shared weights, except for the first half of the layers and students that keep "
        "wider feed-forward blocks, which start from the model's own. The loss is measured on held-out text "
        "that neither the search nor the choice of the winner has seen. Latency is the sum over the layers, "
        "measured here, without embeddings; fast enough is what is within the search's limit, or without one "
        "no slower than the found student.",
        "Screening of the finalists, distilled for a shorter time, chosen by validation loss:",
    )
