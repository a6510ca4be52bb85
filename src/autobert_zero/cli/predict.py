"""`predict`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from autobert_zero.cli.app import USE, command
from autobert_zero.cli.options import BatchSize, Device, InferencePrecision, ModelSource, file_option
from autobert_zero.extras import require
from autobert_zero.progress import Bars, log_console, quiet_transformers
from autobert_zero.streams import STANDARD_STREAM


def _how_to_go_on(options: Mapping[str, Any]) -> str:
    out = options["out"]
    return (
        "results so far are printed" if str(out) == STANDARD_STREAM else f"{out} is not written; start again"
    )


@command(USE, prints_records=True, stopped=_how_to_go_on)
def predict_command(
    model: ModelSource,
    files: Annotated[
        list[str],
        typer.Argument(help="Texts: .txt (one per line), .jsonl, .csv, .tsv; - for standard input."),
    ],
    task: Annotated[
        str,
        typer.Option(
            help="labels, scores, tags, answers, mask, embed; auto: what the model was trained for."
        ),
    ] = "auto",
    out: Annotated[Path, file_option("File for the predictions; - for standard output.")] = Path(
        STANDARD_STREAM
    ),
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="jsonl, csv, tsv or npy; default: by the file extension."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Comma-separated columns with the texts; default: as in fine-tuning, or by name."),
    ] = None,
    keep_columns: Annotated[
        str | None,
        typer.Option(help="Comma-separated columns of tables to repeat next to the predictions; or all."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Number of tokens for each mask; default: 5.")
    ] = None,
    batch_size: BatchSize = 32,
    device: Device = "auto",
    precision: InferencePrecision = "fp32",
) -> None:
    """Use a model: predict labels, scores, tags, answers, masked tokens or embeddings for texts."""
    require("predict", "hf")
    quiet_transformers()
    from autobert_zero.predict.read import Columns
    from autobert_zero.predict.run import Inference
    from autobert_zero.predict.run import predict as run

    texts, kept = (
        None if names is None else [name.strip() for name in names.split(",")]
        for names in (columns, keep_columns)
    )
    inference = Inference(device, precision, batch_size)
    with Bars(log_console()) as progress:
        run(model, files, str(out), progress, task, file_format, Columns(texts, kept or ()), top_k, inference)
