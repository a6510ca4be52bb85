"""`compare`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from autobert_zero.bounds import LARGEST_SIZE
from autobert_zero.cli.app import USE, Result, command
from autobert_zero.cli.options import Device, file_option
from autobert_zero.errors import UserError, counted
from autobert_zero.extras import require
from autobert_zero.files import write_text
from autobert_zero.out_file import check_new_file, writing
from autobert_zero.progress import Bars, log_console, quiet_transformers
from autobert_zero.streams import STANDARD_STREAM


@command(USE)
def compare_command(
    models: Annotated[
        list[str],
        typer.Argument(help="Folders of models (saved, exported, pre-trained, fine-tuned), or Hub names."),
    ],
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="A similarity task (stsb, or a YAML file of kind similarity), scored without training; "
            "can be given several times."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the files of the tasks; default: from the Hub.")
    ] = None,
    length: Annotated[int, typer.Option(min=1, max=LARGEST_SIZE, help="Tokens in a sequence.")] = 128,
    batch_size: Annotated[str, typer.Option(help="Batch sizes, separated by commas.")] = "1,32",
    onnx: Annotated[bool, typer.Option("--onnx/--no-onnx", help="Measure ONNX Runtime too.")] = True,
    int8: Annotated[
        bool, typer.Option("--int8", help="Measure ONNX Runtime with 8-bit weights too.")
    ] = False,
    device: Device = "auto",
    out: Annotated[Path | None, file_option("File for the table: .md or .json, by its extension.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Picture of score against latency: .png, .svg or .pdf.")
    ] = None,
) -> Result:
    """Compare models: size, speed in PyTorch and ONNX Runtime, peak memory, and similarity scores."""
    require("compare", "hf", "transformers")
    if onnx or int8:
        require("ONNX", "export", "onnx", "onnxruntime", "onnxscript", otherwise=", or give --no-onnx")
    quiet_transformers()
    batches = _batches(batch_size)
    if str(out) == STANDARD_STREAM:
        out = None  # it goes there anyway
    _check_files(out, picture, bool(task))
    from autobert_zero.announce import machine_line
    from autobert_zero.devices import find_device
    from autobert_zero.model_comparison.run import compare_encoders as run
    from autobert_zero.model_comparison.similarity import load_pairs
    from autobert_zero.model_comparison.table import comparison_dict, draw_comparison, markdown

    tasks = [load_pairs(name, data) for name in dict.fromkeys(task or [])]
    with Bars(log_console()) as progress:
        progress.say(
            f"{counted(len(models), 'model')}, sequences of {length} tokens in batches of "
            + ", ".join(map(str, batches))
            + "".join(
                f"; {pairs.name} {pairs.split}: {counted(len(pairs.scores), 'pair')}" for pairs in tasks
            )
        )
        progress.say(machine_line(find_device(device), "fp32"))
        rows = run(
            models,
            tasks,
            batches,
            length,
            device,
            with_onnx=onnx,
            with_int8=int8,
            progress=progress.update,
            say=progress.say,
        )
    text, figures = markdown(rows, tasks, length), comparison_dict(rows, tasks, length)

    def finish() -> None:
        if out is not None:
            content = json.dumps(figures, indent=2) if out.suffix.lower() == ".json" else text
            with writing(out):
                write_text(out, content + "\n")
        if picture is not None:
            with writing(picture):
                draw_comparison(rows, tasks[0], picture)

    return Result(text, figures, finish)


def _batches(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise UserError(f"--batch-size must be whole numbers from 1, separated by commas, not {text!r}")
    return list(dict.fromkeys(sizes))


def _check_files(out: Path | None, picture: Path | None, scored: bool) -> None:
    """Checks the files to write before anything is measured."""
    if out is not None and out.suffix not in (".md", ".json"):
        raise UserError(f"--out {out}: the extension must be .md or .json")
    if picture is not None:
        from autobert_zero.report.draw import PICTURE_SUFFIXES

        if not scored:
            raise UserError("--picture shows a score against latency; name a --task")
        if picture.suffix.lower() not in PICTURE_SUFFIXES:
            raise UserError(f"--picture {picture}: the extension must be {', '.join(PICTURE_SUFFIXES)}")
        require("--picture", "draw")
    for path in filter(None, (out, picture)):
        if path.exists() or not path.absolute().parent.is_dir():
            problem = "exists already" if path.exists() else "is in a folder that does not exist"
            raise UserError(f"{path} {problem}; choose another file")
        check_new_file(path)
