"""`describe`: what a backbone computes, and what it costs."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import typer

from autobert_zero.bounds import LARGEST_SIZE
from autobert_zero.cli.app import BACKBONES, Result, command
from autobert_zero.cli.backbones import HELP as BACKBONE
from autobert_zero.cli.backbones import find_backbone
from autobert_zero.cli.options import BatchSize, Device, Layers
from autobert_zero.errors import UserError

_OWN = "Default: that of the run or model, else {}."


@command(BACKBONES)
def describe_command(
    backbone: Annotated[str, typer.Argument(help=BACKBONE)],
    layers: Layers = None,
    width: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_SIZE, help=f"Hidden size d. {_OWN.format(768)}")
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_SIZE, help=f"Heads H. {_OWN.format(12)}")
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            min=1, max=LARGEST_SIZE, help="Tokens in a sequence. Default: 128, or as many as the model takes."
        ),
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST_SIZE, help=f"Tokens in the vocabulary. {_OWN.format('30,522')}"),
    ] = None,
    norm: Annotated[
        Literal["post", "pre"] | None, typer.Option(help=f"Place of layer norms. {_OWN.format('post')}")
    ] = None,
    feed_forward_kind: Annotated[
        Literal["gelu", "geglu"] | None, typer.Option(help=f"Feed-forward block. {_OWN.format('gelu')}")
    ] = None,
    positions: Annotated[
        Literal["learned", "none"] | None, typer.Option(help=f"Position table. {_OWN.format('learned')}")
    ] = None,
    biases: Annotated[
        bool | None, typer.Option(help=f"Biases of linear layers and norms. {_OWN.format('biases')}")
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Time every layer on this machine.")] = False,
    batch_size: BatchSize = 8,
    device: Device = "auto",
) -> Result:
    """Print each layer's canonical form, types, what it compiles to, parameters, FLOPs and memory.

    A run or a saved model is described at its own sizes and in its own trunk.
    """
    from autobert_zero.cli.own_sizes import own_sizes
    from autobert_zero.describe import describe_backbone, plain_backbone
    from autobert_zero.encoder_config import BERT_BASE

    read = find_backbone(backbone, layers)
    own = own_sizes(backbone) or BERT_BASE
    length = length or min(128, own.max_positions)
    settings = {
        "width": width,
        "heads": heads,
        "vocab_size": vocab_size,
        "norm": norm,
        "feed_forward_kind": feed_forward_kind,
        "positions": positions,
        "biases": biases,
    }
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    try:
        sizes = replace(own, max_positions=max(length, own.max_positions), **given)
    except ValueError as error:
        raise UserError(str(error)) from None
    text = describe_backbone(read, sizes, length)  # before measuring: checks the sizes
    measured = None
    if measure:
        from autobert_zero.devices import describe_device, find_device
        from autobert_zero.measure import measure_backbone
        from autobert_zero.training.precision import resolve_precision

        where = find_device(device)
        measured = measure_backbone(read, sizes, length, batch_size, where, "auto")
        text = describe_backbone(read, sizes, length, measured)
        number_format = resolve_precision("auto", where)
        text += f"\n({batch_size} x {length} tokens on {describe_device(where)}, {number_format})"
    return Result(text, plain_backbone(read, sizes, length, measured))
