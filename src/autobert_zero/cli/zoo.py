"""`zoo`: the known backbones."""

from typing import Annotated

import typer

from autobert_zero.cli.app import BACKBONES, Result, command


@command(BACKBONES)
def zoo_command(
    name: Annotated[str | None, typer.Argument(help="Print this one's backbone, one layer per line.")] = None,
) -> Result:
    """List the known backbones, or print one."""
    from autobert_zero.zoo import ZOO, find, list_zoo

    if name is None:
        return Result(list_zoo(), {key: entry.to_dict() for key, entry in ZOO.items()})
    entry = find(name)
    return Result(str(entry.backbone), entry.to_dict())
