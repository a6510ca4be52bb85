"""`describe`, `zoo` and `export`: what takes no training."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from autobert_zero.cli.app import app
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.backbones import find_backbone
from autobert_zero.cli.options import Layers
from autobert_zero.extras import require
from autobert_zero.progress import log_console


@app.command("describe")
def describe_command(
    backbone: Annotated[str, typer.Argument(help=BACKBONE)],
    layers: Layers = None,
    width: Annotated[int, typer.Option(min=1, help="Hidden size d.")] = 768,
    heads: Annotated[int, typer.Option(min=1, help="Heads H.")] = 12,
    length: Annotated[int, typer.Option(min=1, help="Tokens in a sequence.")] = 128,
    vocab_size: Annotated[int, typer.Option(min=1, help="Tokens in the vocabulary.")] = 30522,
    measure: Annotated[bool, typer.Option("--measure", help="Time every layer on this machine.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Sequences in a batch, for --measure.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ..., for --measure.")] = "auto",
) -> None:
    """Print each layer's canonical form, types, what it compiles to, parameters, FLOPs and memory."""
    from autobert_zero.describe import describe_backbone

    read = find_backbone(backbone, layers)
    text = describe_backbone(read, width, heads, length, vocab_size)  # before measuring: checks the sizes
    if measure:
        from autobert_zero.devices import describe_device, find_device
        from autobert_zero.measure import measure_backbone
        from autobert_zero.training.precision import resolve_precision

        where = find_device(device)
        measured = measure_backbone(read, width, heads, length, batch, where, "auto")
        text = describe_backbone(read, width, heads, length, vocab_size, measured)
        number_format = resolve_precision("auto", where)
        text += f"\n({batch} x {length} tokens on {describe_device(where)}, {number_format})"
    typer.echo(text)


@app.command("zoo")
def zoo_command(
    name: Annotated[str | None, typer.Argument(help="Print this one's backbone, one layer per line.")] = None,
) -> None:
    """List the known backbones, or print one."""
    from autobert_zero.zoo import find, list_zoo

    typer.echo(list_zoo() if name is None else find(name).backbone)


@app.command("export")
def export_command(
    source: Annotated[Path, typer.Argument(help="A finished run, or a folder of save_pretrained.")],
    out: Annotated[Path, typer.Argument(help="New folder for the exported model.")],
    onnx: Annotated[bool, typer.Option(help="Write model.onnx, checked with onnxruntime.")] = True,
    program: Annotated[bool, typer.Option(help="Write model.pt2, a torch.export program.")] = True,
    sentence_embeddings: Annotated[
        Literal["mean", "cls"] | None,
        typer.Option(help="Let sentence-transformers load the folder, with this pooling of the tokens."),
    ] = None,
) -> None:
    """Write a model so that it can be used without this package."""
    require("export", "export", "transformers", "matplotlib")
    from autobert_zero.export import export as write
    from autobert_zero.progress import quiet_transformers

    quiet_transformers()
    formats = tuple(name for name, wanted in (("torch", program), ("onnx", onnx)) if wanted)
    with log_console().status("reading the model") as status:
        programs = write(source, out, formats, status.update, sentence_embeddings)
    for each in programs:
        typer.echo(f"{each.file}: differs from PyTorch by at most {each.difference:.1e}")
    typer.echo(f"everything is in {out}; it loads with trust_remote_code=True")
