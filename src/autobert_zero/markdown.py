"""Markdown tables."""

from collections.abc import Iterable, Mapping, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; `|` in a cell is escaped, and a line break becomes a space."""
    return [_row(header), f"|{'---|' * len(header)}", *map(_row, rows)]


def metric_table(heading: str, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The lines of a table of metrics by split; `heading` is that of the values."""
    rows = [
        [split, name, f"{value:.4f}"] for split, values in metrics.items() for name, value in values.items()
    ]
    return table(["split", "metric", heading], rows)


def _row(cells: Sequence[str]) -> str:
    texts = (" ".join(cell.replace("|", "\\|").splitlines()) for cell in cells)
    return "".join(f"| {text} " if text else "| " for text in texts) + "|"
