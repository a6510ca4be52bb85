"""Formats a comparison as a table, as JSON, and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autobert_zero.markdown import table
from autobert_zero.model_comparison.run import ComparisonRow
from autobert_zero.model_comparison.similarity import Pairs


def markdown(rows: Sequence[ComparisonRow], tasks: Sequence[Pairs], length: int) -> str:
    """Formats the rows as a Markdown table, with each speed relative to that of the first row."""
    batches = list(rows[0].milliseconds)
    columns = [
        *("model", "engine", "parameters", "MB"),
        *(f"ms, batch {batch}" for batch in batches),
        *("sentences/s", "relative speed", "peak MB"),
        *(f"{pairs.name} {pairs.split}" for pairs in tasks),
    ]
    table_rows = []
    for row in rows:
        speed = row.sentences_per_second()
        cells = [
            *(row.model, row.engine, f"{row.parameters:,}", f"{row.megabytes:.1f}"),
            *(f"{row.milliseconds[batch]:.2f}" for batch in batches),
            *(f"{speed:,.0f}", f"{speed / rows[0].sentences_per_second():.2f}"),
            "" if row.memory is None else f"{row.memory:,.0f}",
            *(f"{row.scores[pairs.name]:.2f}" for pairs in tasks),
        ]
        table_rows.append(cells)
    notes = [f"Sequences of {length} tokens without padding; medians of runs that alternate between rows."]
    if tasks:
        notes.append("Scores: Spearman's correlation of cosine similarities with the labels, in points.")
    return "\n".join([*table(columns, table_rows), "", " ".join(notes)])


def comparison_dict(rows: Sequence[ComparisonRow], tasks: Sequence[Pairs], length: int) -> dict[str, Any]:
    """The comparison as plain data, for JSON."""
    return {
        "length": length,
        "splits": {pairs.name: pairs.split for pairs in tasks},
        "rows": [row.to_dict() for row in rows],
    }


def draw_comparison(rows: Sequence[ComparisonRow], task: Pairs, path: Path) -> None:
    """Draws the score of a task against the time per sentence, one point per row.

    Args:
        rows: Rows of the comparison.
        task: The task whose score is the vertical axis.
        path: The file; its extension selects the format.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    markers = dict(zip(dict.fromkeys(row.engine for row in rows), "os^", strict=False))
    for row in rows:
        x, y = 1000 / row.sentences_per_second(), row.scores[task.name]
        axes.scatter([x], [y], marker=markers[row.engine], color="tab:blue")
        axes.annotate(
            f"{Path(row.model).name}\n{row.engine}",
            (x, y),
            xytext=(6, -4),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.15)
    axes.set_xlabel("milliseconds per sentence (smaller is better)")
    axes.set_ylabel(f"{task.name} {task.split}, Spearman (larger is better)")
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=150)
