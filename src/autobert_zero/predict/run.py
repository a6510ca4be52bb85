"""Predicts the texts of files with a model and writes the predictions, block by block."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autobert_zero.announce import machine_line
from autobert_zero.devices import find_device
from autobert_zero.errors import UserError, counted
from autobert_zero.files import json_values
from autobert_zero.finetune.loading import load_trained
from autobert_zero.finetune.models import open_model
from autobert_zero.out_file import check_out
from autobert_zero.predict.head import Head, Record, Runner, max_length
from autobert_zero.predict.heads import AUTO, architecture, make_head
from autobert_zero.predict.read import Columns, Row, Rows, blocks, open_rows
from autobert_zero.predict.write import STDOUT, TABLES, choose_format, open_writer
from autobert_zero.progress import Bars
from autobert_zero.streams import reader_gone
from autobert_zero.training.precision import Precision

_BLOCK = 1024
"""Number of examples that are in memory, and sorted by length, at a time."""

_GIVEN = "_given"
"""Suffix of a repeated column that has the name of one of the predictions."""


@dataclass(frozen=True)
class Inference:
    """Settings for running a model.

    Attributes:
        device: `auto` (a GPU if there is one), or a device of PyTorch.
        precision: Number format as in a config, such as `fp32` or `auto` (the fast one of the device).
        batch_size: Maximum number of sequences in a batch.
    """

    device: str = "auto"
    precision: Precision = "fp32"
    batch_size: int = 32


@dataclass
class _Counts:
    """Counts of the predictions so far.

    Attributes:
        rows: Number of examples.
        cut: Number of texts that were cut.
        empty: Number of examples without text.
    """

    rows: int = 0
    cut: int = 0
    empty: int = 0


def predict(
    model: str,
    sources: Sequence[str],
    out: str,
    progress: Bars,
    task: str = AUTO,
    file_format: str | None = None,
    columns: Columns | None = None,
    top_k: int | None = None,
    inference: Inference = Inference(),  # frozen
) -> None:
    """Predicts every text of the inputs, in order, and writes a record for each.

    Args:
        model: A folder or a name on the Hub.
        sources: Files, or `-` for standard input.
        out: A file, which appears once it is complete, or `-` for standard output.
        progress: Display of the progress.
        task: A name in `HEADS`, or `auto`.
        file_format: A name in `FORMATS`; None chooses it by the file extension of `out`.
        columns: The columns of tables to read and to repeat; None finds those with texts, and repeats none.
        top_k: Number of tokens per mask; None means `heads.DEFAULT_TOP_K`.
        inference: Settings for running the model.

    Raises:
        UserError: The model, an input or the output cannot be used; nothing is written then.
    """
    check_out(Path(out), map(Path, sources), Path(model))
    device = find_device(inference.device)
    opened = open_model(model)
    head = make_head(opened, task, top_k)
    file_format = choose_format(out, file_format, head.formats)
    columns = columns or Columns()
    if columns.kept and file_format == "npy":
        raise UserError("npy holds no other columns; leave out --keep-columns, or choose --format jsonl")
    rows = open_rows(sources, columns, head.task_columns, head.check)
    shown = rows.columns[: head.task_columns.shown]
    names = _names_beside((*rows.kept, *shown), head, rows, file_format)
    limit = max_length(opened)
    tokens = "" if limit is None else f", at most {limit:,} tokens each"
    total = "texts" if rows.total is None else counted(rows.total, "text")
    target = "standard output" if out == STDOUT else out
    progress.say(
        f"{head.about} for {total} of {', '.join(rows.inputs)} (column {' and '.join(rows.columns)}{tokens}) "
        f"with {model} ({architecture(opened)}), as {file_format} to {target}"
    )
    progress.say(machine_line(device, inference.precision))
    with open_writer(out, file_format) as writer:
        loaded = load_trained(head.auto, opened.source, **opened.changes(None)).float().to(device)
        counts = _Counts()
        for block in blocks(rows.read(), _BLOCK):

            def watch(share: float, size: int = len(block)) -> None:
                if rows.total is not None:
                    progress.update("texts", counts.rows + int(share * size), rows.total)

            runner = Runner(loaded, inference.precision, inference.batch_size, head.token_limit, watch)
            records = _predict_block(head, block, runner, counts)
            if file_format in TABLES:
                records = [head.flatten(record) for record in records]
            lines = []
            for row, record in zip(block, records, strict=True):
                given = _as_cells(row.example, rows.kept, file_format)
                given |= zip(shown, row.cells, strict=False)
                lines.append({names[name]: value for name, value in given.items()} | record)
            writer.write(lines)
            if out == STDOUT:
                sys.stdout.flush()
                if reader_gone(sys.stdout):
                    return
        if not counts.rows:
            raise UserError(f"{', '.join(rows.inputs)} has no texts")
    progress.say(_summary(counts, limit, out, head.remark))


def _names_beside(given: Sequence[str], head: Head, rows: Rows, file_format: str) -> dict[str, str]:
    """The names under which columns of the inputs are repeated: with a suffix where the predictions have one.

    Raises:
        UserError: A name with the suffix is taken too.
    """
    record = head.empty_record(Row("", ("",) * len(rows.columns)))
    taken = record if file_format not in TABLES else head.flatten(record)
    names = {name: f"{name}{_GIVEN}" if name in taken else name for name in given}
    for name, beside in names.items():
        if name != beside and (beside in taken or beside in names):
            raise UserError(
                f"--keep-columns: the predictions have a column {name!r} too, and {beside!r} is taken; "
                "rename it in the table, or leave it out"
            )
    return names


def _as_cells(example: Mapping[str, Any], names: Sequence[str], file_format: str) -> dict[str, Any]:
    """The cells of repeated columns: None if the example lacks one; lists and objects as JSON in a table."""
    kept = {name: json_values(example.get(name)) for name in names}
    if file_format not in TABLES:
        return kept
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        for name, value in kept.items()
    }


def _predict_block(head: Head, block: Sequence[Row], runner: Runner, counts: _Counts) -> list[Record]:
    """Predicts a block; examples without text get an empty record."""
    nonempty = [row for row in block if not row.empty]
    predicted, cut = head.predict(nonempty, runner) if nonempty else ([], 0)
    counts.rows += len(block)
    counts.cut += cut
    counts.empty += len(block) - len(nonempty)
    records = iter(predicted)
    return [head.empty_record(row) if row.empty else next(records) for row in block]


def _summary(counts: _Counts, limit: int | None, out: str, remark: str | None) -> str:
    """The last line: the number of predictions, and of texts that were cut or empty, and a remark."""
    parts = [f"{counted(counts.rows, 'text')} predicted"]
    if counts.cut:
        parts.append(f"{counts.cut:,} of them longer than {limit:,} tokens and cut")
    if counts.empty:
        parts.append(f"{counts.empty:,} of them empty, with an empty result")
    if remark is not None:
        parts.append(remark)
    where = "" if out == STDOUT else f"; results in {out}"
    return ", ".join(parts) + where
