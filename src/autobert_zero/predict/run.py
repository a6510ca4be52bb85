"""From files of texts and a model to a file of predictions, block by block."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autobert_zero.announce import machine_line
from autobert_zero.devices import find_device
from autobert_zero.errors import UserError, counted
from autobert_zero.finetune.loading import load_trained
from autobert_zero.finetune.models import open_model
from autobert_zero.predict.head import Head, Record, Runner, max_length
from autobert_zero.predict.heads import AUTO, architecture, make_head
from autobert_zero.predict.read import Columns, Row, Rows, blocks, open_rows
from autobert_zero.predict.write import STDOUT, TABLES, check_out, choose_format, writing
from autobert_zero.progress import Bars
from autobert_zero.streams import reader_gone
from autobert_zero.training.precision import Precision

_BLOCK = 1024
"""Examples that are sorted by length together and in memory at a time."""


@dataclass(frozen=True)
class Inference:
    """How a model is run.

    Attributes:
        device: `auto` (a GPU where there is one), or a name of PyTorch's.
        precision: As in a config, for example `fp32` or `auto` (the fast one of the device).
        batch_size: Maximum number of sequences in a batch.
    """

    device: str = "auto"
    precision: Precision = "fp32"
    batch_size: int = 32


@dataclass
class _Counts:
    """What was predicted.

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
    form: str | None = None,
    columns: Columns | None = None,
    top_k: int | None = None,
    inference: Inference = Inference(),  # frozen
) -> None:
    """Predicts every text of the inputs, in order, and writes a record for each.

    Args:
        model: A folder or a name on the Hub.
        sources: Files, or `-` for the standard input.
        out: A file, which is written whole, or `-` for the standard output.
        progress: Shows what is done.
        task: A name in `HEADS`, or `auto`.
        form: A name in `FORMATS`; None: by the ending of `out`.
        columns: Which columns of tables are read and kept; None: those with texts are found, none is kept.
        top_k: How many tokens for each mask; None: 5.
        inference: How the model is run.

    Raises:
        UserError: The model, an input or the output cannot be used; nothing is written then.
    """
    check_out(out, sources)
    device = find_device(inference.device)
    opened = open_model(model)
    head = make_head(opened, task, top_k)
    form = choose_format(out, form, head.formats)
    columns = columns or Columns()
    if columns.kept and form == "npy":
        raise UserError("an array holds no other columns; leave out --keep-columns, or choose --format jsonl")
    rows = open_rows(sources, columns, head.wanted, head.check)
    _check_kept(head, rows, form)
    limit = max_length(opened)
    tokens = "" if limit is None else f", at most {limit:,} tokens each"
    total = "texts" if rows.total is None else counted(rows.total, "text")
    progress.say(
        f"{head.about} for {total} of {', '.join(rows.inputs)} (column {' and '.join(rows.columns)}{tokens}) "
        f"with {model} ({architecture(opened)}), as {form} to {'standard output' if out == STDOUT else out}"
    )
    progress.say(machine_line(device, inference.precision))
    with writing(out, form) as writer:
        loaded = load_trained(head.auto, opened.source, **opened.changes(None)).float().to(device)
        counts = _Counts()
        for block in blocks(rows.read(), _BLOCK):

            def watch(share: float, size: int = len(block)) -> None:
                if rows.total is not None:
                    progress.update("texts", counts.rows + int(share * size), rows.total)

            runner = Runner(loaded, inference.precision, inference.batch_size, watch)
            records = _predict_block(head, block, runner, counts)
            if form in TABLES:
                records = [head.flat(record) for record in records]
            shown = rows.columns[: head.wanted.shown]
            writer.write(
                [
                    {
                        **_as_cells(row.example, rows.kept, form),
                        **dict(zip(shown, row.cells, strict=False)),
                        **record,
                    }
                    for row, record in zip(block, records, strict=True)
                ]
            )
            if out == STDOUT:
                sys.stdout.flush()
                if reader_gone(sys.stdout):
                    return
        if not counts.rows:
            raise UserError(f"{', '.join(rows.inputs)} has no texts")
    progress.say(_last_line(counts, limit, out))


def _check_kept(head: Head, rows: Rows, form: str) -> None:
    """Checks that no column that is kept has the name of one of the predictions'.

    Raises:
        UserError: One has.
    """
    record = head.nothing(Row("", ("",) * len(rows.columns)))
    names = record if form not in TABLES else head.flat(record)
    for name in rows.kept:
        if name in names:
            raise UserError(
                f"--keep-columns: the predictions have a column {name!r} too; rename it in the table, or "
                "leave it out"
            )


def _as_cells(example: Mapping[str, Any], names: Sequence[str], form: str) -> Mapping[str, Any]:
    """Columns that are kept, None where the example lacks one; in a table lists and objects are JSON."""
    kept = {name: example.get(name) for name in names}
    if form not in TABLES:
        return kept
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        for name, value in kept.items()
    }


def _predict_block(head: Head, block: Sequence[Row], runner: Runner, counts: _Counts) -> list[Record]:
    """The records of a block; those of empty examples hold nothing."""
    full = [row for row in block if not row.empty]
    predicted, cut = head.predict(full, runner) if full else ([], 0)
    counts.rows += len(block)
    counts.cut += cut
    counts.empty += len(block) - len(full)
    records = iter(predicted)
    return [head.nothing(row) if row.empty else next(records) for row in block]


def _last_line(counts: _Counts, limit: int | None, out: str) -> str:
    """The last line: what was predicted, and which texts were not taken as they are."""
    parts = [f"{counted(counts.rows, 'text')} predicted"]
    if counts.cut:
        parts.append(f"{counts.cut:,} of them longer than {limit:,} tokens and cut")
    if counts.empty:
        parts.append(f"{counts.empty:,} of them empty, with an empty result")
    where = "" if out == STDOUT else f"; results in {out}"
    return ", ".join(parts) + where
