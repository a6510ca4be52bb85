"""Tables in Markdown, as a reader of Markdown takes them."""

from markdown_it import MarkdownIt

from autobert_zero.markdown import metric_table, table


def cells(lines: list[str]) -> list[str]:
    """The cells of a table as they are shown, row by row."""
    tokens = MarkdownIt("commonmark").enable("table").parse("\n".join(lines))
    return [token.content for token in tokens if token.type == "inline"]


def test_bars_and_line_breaks_stay_in_their_cells() -> None:
    lines = table(["name", "a|b", ""], [["x|y | z", "", "two\nlines"], ["conv 3", "\u2028", "|"]])
    assert cells(lines) == ["name", "a|b", "", "x|y | z", "", "two lines", "conv 3", "", "|"]


def test_metrics_are_rows() -> None:
    lines = metric_table("mean", {"validation": {"f1": 0.5, "accuracy": 0.25}, "test": {"f1": 1.0}})
    assert lines == [
        "| split | metric | mean |",
        "|---|---|---|",
        "| validation | f1 | 0.5000 |",
        "| validation | accuracy | 0.2500 |",
        "| test | f1 | 1.0000 |",
    ]
