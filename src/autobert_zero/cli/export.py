"""`export`: a model as a folder that needs no package of ours."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from autobert_zero.cli.app import USE, Result, command
from autobert_zero.cli.options import folder_option
from autobert_zero.errors import UserError
from autobert_zero.extras import require
from autobert_zero.progress import log_console


@command(USE)
def export_command(
    source: Annotated[Path, typer.Argument(help="A finished run, or a folder of save_pretrained.")],
    folder: Annotated[Path | None, typer.Argument(hidden=True)] = None,
    out: Annotated[Path | None, folder_option("New folder for the exported model.")] = None,
    onnx: Annotated[bool, typer.Option(help="Write model.onnx, checked with onnxruntime.")] = True,
    program: Annotated[bool, typer.Option(help="Write model.pt2, a torch.export program.")] = True,
    sentence_embeddings: Annotated[
        Literal["mean", "cls"] | None,
        typer.Option(help="Let sentence-transformers load the folder, with this pooling of the tokens."),
    ] = None,
) -> Result:
    """Write a model so that it can be used without this package."""
    if (out is None) == (folder is None):
        raise UserError("name one new folder for the exported model: export MODEL --out FOLDER")
    new = out or folder
    assert new is not None
    require("export", "export", "transformers", "matplotlib")
    from autobert_zero.export import export as write
    from autobert_zero.progress import quiet_transformers

    quiet_transformers()
    formats = tuple(name for name, wanted in (("torch", program), ("onnx", onnx)) if wanted)
    with log_console().status("reading the model") as status:
        programs = write(source, new, formats, status.update, sentence_embeddings)
    lines = [f"{copy.file}: differs from PyTorch by at most {copy.difference:.1e}" for copy in programs]
    lines.append(f"everything is in {new}; it loads with trust_remote_code=True")
    return Result("\n".join(lines), {"out": new, "programs": [asdict(copy) for copy in programs]})
